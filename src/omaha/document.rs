//! XML documents: a response, as a small tree of elements with attributes, and the attribute values
//! of a request. Text between elements means nothing in this dialect and is dropped.

use std::fmt::{self, Write as _};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use thiserror::Error;

use super::encoding::{TextError, text_of};

/// Deepest nesting accepted; real responses are seven deep. Bounds the work of dropping the tree.
const MAX_DEPTH: usize = 32;

/// Most elements accepted: bounds the memory that a megabyte of `<a/>` would take.
const MAX_ELEMENTS: usize = 10_000;

/// Why bytes are no document.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// Bytes that are no text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A syntax error.
    #[error("the response is no XML at byte {at}")]
    Syntax {
        /// Offset of the error.
        at: u64,
        /// The parser's error.
        source: quick_xml::Error,
    },
    /// An attribute that is malformed, given twice, or uses an unknown entity.
    #[error("malformed attribute in <{element}>")]
    Attribute {
        /// The element's name.
        element: String,
        /// The parser's error.
        source: quick_xml::Error,
    },
    /// Something other than white space around the root element.
    #[error("text outside the root element at byte {0}")]
    TextOutside(u64),
    /// A second root element.
    #[error("more than one root element: <{0}>")]
    SecondRoot(String),
    /// No element at all, or the text ends inside one.
    #[error("the response ends inside <{0}>")]
    Unfinished(String),
    /// Nothing but white space, comments and declarations.
    #[error("the response has no root element")]
    NoRoot,
    /// Nested too deeply.
    #[error("elements are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// Too many elements.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooMany,
}

/// One element.
#[derive(Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    /// The value of the attribute `name`; empty if there is none, as readers of this dialect do not
    /// tell an empty attribute from a missing one.
    pub(super) fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// The children called `name`, in order.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Everything reached by following `path` downwards, in document order.
    pub(super) fn descend<'a>(&'a self, path: &'a [&'a str]) -> Vec<&'a Element> {
        path.iter().fold(vec![self], |level, name| {
            level
                .into_iter()
                .flat_map(|element| element.children(name))
                .collect()
        })
    }
}

/// Parses `bytes` and gives the root element.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, DocumentError> {
    let text = text_of(bytes)?;
    let mut reader = Reader::from_str(&text);
    let mut tree = Tree::default();
    loop {
        let at = reader.buffer_position();
        match reader
            .read_event()
            .map_err(|source| DocumentError::Syntax { at, source })?
        {
            Event::Start(start) => tree.open(element(&start)?)?,
            Event::Empty(start) => {
                tree.open(element(&start)?)?;
                tree.close();
            }
            Event::End(_) => tree.close(),
            Event::Text(text) if tree.outside() && !text.trim_ascii().is_empty() => {
                return Err(DocumentError::TextOutside(at));
            }
            Event::CData(_) | Event::GeneralRef(_) if tree.outside() => {
                return Err(DocumentError::TextOutside(at));
            }
            Event::Eof => return tree.finish(),
            _ => {}
        }
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, DocumentError> {
    let name = start.name().as_ref().to_owned();
    let attributes = start
        .attributes()
        .map(|attribute| {
            let attribute = attribute?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0)?;
            Ok((attribute.key.as_ref().to_owned(), value.into_owned()))
        })
        .collect::<Result<_, quick_xml::Error>>();
    match attributes {
        Ok(attributes) => Ok(Element {
            name,
            attributes,
            children: Vec::new(),
        }),
        Err(source) => Err(DocumentError::Attribute {
            element: name,
            source,
        }),
    }
}

/// The elements still open, outermost first, and the root once it is closed.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn outside(&self) -> bool {
        self.open.is_empty()
    }

    fn open(&mut self, element: Element) -> Result<(), DocumentError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(DocumentError::TooMany);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(DocumentError::TooDeep);
        }
        if self.outside() && self.root.is_some() {
            return Err(DocumentError::SecondRoot(element.name));
        }
        self.open.push(element);
        Ok(())
    }

    /// The parser has already refused an end tag that closes nothing.
    fn close(&mut self) {
        let Some(closed) = self.open.pop() else {
            return;
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => self.root = Some(closed),
        }
    }

    fn finish(self) -> Result<Element, DocumentError> {
        match self.open.into_iter().next_back() {
            Some(unfinished) => Err(DocumentError::Unfinished(unfinished.name)),
            None => self.root.ok_or(DocumentError::NoRoot),
        }
    }
}

/// Displays with `& < > "` as entities, everything outside ASCII as an upper-case hexadecimal
/// reference (`&#xF6;`), a carriage return as `&#13;`, and without the control characters that XML
/// cannot carry.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\r' => f.write_str("&#13;"),
            '\t' | '\n' | ' '..='\x7f' => f.write_char(c),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => Ok(()),
            _ => write!(f, "&#x{:X};", u32::from(c)),
        })
    }
}
