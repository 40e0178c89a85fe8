//! Omaha request as the server sees it, from hostile text to checked types. Pure.

use std::collections::HashMap;

use quick_xml::events::{BytesStart, Event as Xml};
use quick_xml::{Reader, XmlVersion};

/// Most asks in one request: a node sends three at most.
const MAX_ASKS: usize = 64;

/// Request of a node, about one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OmahaQuestion {
    /// The node that asks.
    pub app: App,
    /// Its asks, in the order of the document.
    pub asks: Vec<Ask>,
}

/// The node, as its request describes it. A missing attribute is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct App {
    /// `appid`, echoed as it came.
    pub id: String,
    /// Version the node runs.
    pub version: String,
    /// Channel (`track`) that the node follows, as it says.
    pub track: String,
    /// Board (`amd64-usr`).
    pub board: String,
    /// The node's machine id.
    pub machine: String,
}

/// One element of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// The node is alive.
    Ping,
    /// The node asks for an update.
    UpdateCheck,
    /// The node reports an event.
    Event(NodeEvent),
}

/// An event on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvent {
    /// `eventtype`: 3 update complete, 13 download started, 14 download finished.
    pub kind: u32,
    /// `eventresult`: 0 error, 1 success, 2 success after a reboot, 9 update deferred.
    pub result: u32,
    /// `errorcode`, flags included.
    pub code: Option<i64>,
    /// `previousversion`; empty if the node has none to tell.
    pub previous_version: Option<String>,
}

/// Error of parsing a request.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// XML that is not well-formed.
    #[error("the request is not well-formed XML")]
    Xml(#[from] quick_xml::Error),
    /// The document ended before its elements did.
    #[error("the request ends inside <{0}>")]
    Unfinished(String),
    /// The document has no application.
    #[error("the request has no <request> with an <app>")]
    NoApp,
    /// This server serves one application at a time.
    #[error("the request has more than one <app>")]
    SeveralApps,
    /// More asks than any node sends.
    #[error("the request has more than {MAX_ASKS} elements in its <app>")]
    TooMany,
    /// A number that isn't one.
    #[error("{attribute}={value:?} of an event is not a number")]
    Number {
        /// Name of the attribute.
        attribute: &'static str,
        /// Value as sent.
        value: String,
    },
}

impl OmahaQuestion {
    /// Reads a request. Unknown elements and attributes are ignored.
    ///
    /// # Errors
    /// The first error; the server answers with 400 then.
    pub fn parse(text: &str) -> Result<Self, QuestionError> {
        let mut reader = Reader::from_str(text);
        let mut reading = Reading::default();
        loop {
            match reader.read_event()? {
                Xml::Start(element) => {
                    reading.open(&element)?;
                    reading.path.push(element.local_name().as_ref().to_owned());
                }
                Xml::Empty(element) => reading.open(&element)?,
                Xml::End(_) => drop(reading.path.pop()),
                Xml::Eof => return reading.finish(),
                _ => {}
            }
        }
    }
}

#[derive(Default)]
struct Reading {
    path: Vec<String>,
    app: Option<App>,
    asks: Vec<Ask>,
}

impl Reading {
    fn open(&mut self, element: &BytesStart<'_>) -> Result<(), QuestionError> {
        let name = element.local_name();
        let inside: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match (inside.as_slice(), name.as_ref()) {
            (["request"], "app") if self.app.is_some() => return Err(QuestionError::SeveralApps),
            (["request"], "app") => self.app = Some(App::parse(&attributes(element)?)),
            (["request", "app"], "ping") => self.asks.push(Ask::Ping),
            (["request", "app"], "updatecheck") => self.asks.push(Ask::UpdateCheck),
            (["request", "app"], "event") => {
                self.asks
                    .push(Ask::Event(NodeEvent::parse(&attributes(element)?)?));
            }
            _ => {}
        }
        if self.asks.len() > MAX_ASKS {
            return Err(QuestionError::TooMany);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<OmahaQuestion, QuestionError> {
        if let Some(open) = self.path.pop() {
            return Err(QuestionError::Unfinished(open));
        }
        let app = self.app.ok_or(QuestionError::NoApp)?;
        Ok(OmahaQuestion { app, asks: self.asks })
    }
}

type Attributes = HashMap<String, String>;

fn attributes(element: &BytesStart<'_>) -> Result<Attributes, QuestionError> {
    element
        .attributes()
        .map(|attribute| {
            let attribute = attribute.map_err(quick_xml::Error::from)?;
            let value = attribute.normalized_value(XmlVersion::Explicit1_0)?.into_owned();
            Ok((attribute.key.as_ref().to_owned(), value))
        })
        .collect()
}

impl App {
    fn parse(attributes: &Attributes) -> Self {
        let text = |name: &str| attributes.get(name).cloned().unwrap_or_default();
        Self {
            id: text("appid"),
            version: text("version"),
            track: text("track"),
            board: text("board"),
            machine: text("machineid"),
        }
    }
}

impl NodeEvent {
    fn parse(attributes: &Attributes) -> Result<Self, QuestionError> {
        Ok(Self {
            kind: number(attributes, "eventtype")?.unwrap_or_default(),
            result: number(attributes, "eventresult")?.unwrap_or_default(),
            code: number(attributes, "errorcode")?,
            previous_version: attributes.get("previousversion").cloned(),
        })
    }
}

fn number<N: std::str::FromStr>(
    attributes: &Attributes,
    attribute: &'static str,
) -> Result<Option<N>, QuestionError> {
    let Some(value) = attributes.get(attribute) else {
        return Ok(None);
    };
    let wrong = |_| QuestionError::Number {
        attribute,
        value: value.clone(),
    };
    value.parse().map(Some).map_err(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(body: &str) -> Result<OmahaQuestion, QuestionError> {
        OmahaQuestion::parse(&format!(
            "<request><app appid=\"&lt;a&gt;\" version=\"1\">{body}</app></request>"
        ))
    }

    #[test]
    fn values_are_unescaped_and_unknown_elements_are_ignored() {
        let question = ask("<data><ping/></data><updatecheck/><ping active=\"1\"></ping>").unwrap();
        assert_eq!(
            (question.app.id.as_str(), question.app.version.as_str()),
            ("<a>", "1")
        );
        assert_eq!(question.asks, [Ask::UpdateCheck, Ask::Ping]);
    }

    #[test]
    fn what_no_node_sends_is_named() {
        let refusal = |body: &str| ask(body).unwrap_err().to_string();
        assert_eq!(
            refusal("<event eventtype=\"x\"/>"),
            "eventtype=\"x\" of an event is not a number"
        );
        assert_eq!(refusal("</app><app>"), "the request has more than one <app>");
        assert_eq!(
            refusal(&"<ping/>".repeat(65)),
            "the request has more than 64 elements in its <app>"
        );
        let unfinished = OmahaQuestion::parse("<request><app>").unwrap_err();
        assert_eq!(unfinished.to_string(), "the request ends inside <app>");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[<>/=\"&;!a-z \\-\\[\\]?]{0,200}") {
            let _ = OmahaQuestion::parse(&text);
            let _ = ask(&text);
        }
    }
}
