//! The reply to a POST, before it is understood; and web pages where an answer was expected.

use std::fmt;

use super::response::{Response, ResponseError};

/// The body of an answer, and what tells what it is if it is no response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The body, byte by byte as it came.
    pub body: Vec<u8>,
    /// The `Content-Encoding` that it came in, though none was asked for.
    pub encoding: Option<String>,
    /// Whether its server calls it a page for people, which servers of answers do, too.
    pub is_web_page: bool,
    /// The URL where it came from, as it may be shown, if a redirect had led to another server.
    pub redirected_to: Option<String>,
}

impl Reply {
    /// Reads the answer to a check.
    ///
    /// # Errors
    /// [`ResponseError`]; of a body that is none, what it is instead.
    pub fn response(&self) -> Result<Response, ResponseError> {
        Response::parse(&self.body).map_err(|error| match error {
            error @ (ResponseError::Document(_) | ResponseError::NoUpdateCheck { .. }) => self.explain(error),
            error => error,
        })
    }

    fn explain(&self, error: ResponseError) -> ResponseError {
        if let Some(encoding) = self.encoding.as_deref().or_else(|| packed(&self.body)) {
            return ResponseError::Encoded {
                encoding: encoding.to_owned(),
                source: Box::new(error),
            };
        }
        let from = self.redirected_to.as_deref();
        match WebPage::of(&self.body, from) {
            Some(page) => ResponseError::WebPage(page),
            None if self.is_web_page => ResponseError::WebPage(WebPage::declared(&self.body, from)),
            None => error,
        }
    }
}

/// The encoding that the first bytes show, whatever the header said.
fn packed(body: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 2] = [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")];
    let mut known = known.iter();
    known
        .find(|(magic, _)| body.starts_with(magic))
        .map(|(_, encoding)| *encoding)
}

/// Bytes of a body in which a page shows itself as one.
const BEGINNING: usize = 1024;

/// Characters of a title that are told.
const LONGEST_TITLE: usize = 80;

/// How pages begin, in lower case.
const OPENINGS: [&str; 5] = ["<!doctype html", "<html", "<head", "<body", "<script"];

/// A page that came in place of an answer, as far as people want to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebPage {
    /// Its title, if it has one.
    title: Option<String>,
    /// Whether it has a field for a password.
    asks_password: bool,
    /// Where a redirect to another server had led.
    from: Option<String>,
}

impl WebPage {
    /// The page that `body` is by its beginning, which came `from` another server than was asked;
    /// nothing if it is none.
    pub(super) fn of(body: &[u8], from: Option<&str>) -> Option<Self> {
        let beginning = lower_case(&body[..body.len().min(BEGINNING)]);
        let is_page = OPENINGS.iter().any(|opening| beginning.contains(opening));
        is_page.then(|| Self::declared(body, from))
    }

    /// The same of a body that its server calls a page.
    fn declared(body: &[u8], from: Option<&str>) -> Self {
        let page = lower_case(body);
        let asks_password = ["type=\"password\"", "type='password'", "type=password"]
            .iter()
            .any(|field| page.contains(field));
        Self {
            title: title(&String::from_utf8_lossy(body)),
            asks_password,
            from: from.map(str::to_owned),
        }
    }

    /// Whether somebody is asked to log in: networks that want that send every request to such a
    /// page.
    const fn is_login(&self) -> bool {
        self.asks_password || self.from.is_some()
    }
}

impl fmt::Display for WebPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_login() {
            "a login page"
        } else {
            "a web page"
        })?;
        if let Some(title) = &self.title {
            write!(f, " ({title:?})")?;
        }
        if let Some(from) = &self.from {
            write!(f, " at {from}")?;
        }
        f.write_str(if self.is_login() {
            " came instead of an answer: the network, or a proxy in it, wants a login first, or SERVER is no update server"
        } else {
            " came instead of an answer: SERVER must be the URL where an update server answers checks, such as \
             https://nebraska.example/v1/update/"
        })
    }
}

/// ASCII letters in lower case; bytes stay where they are.
fn lower_case(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes.to_ascii_lowercase()).into_owned()
}

/// What stands between the tags, on one line.
fn title(page: &str) -> Option<String> {
    let tags = page.to_ascii_lowercase();
    let opening = tags.find("<title")?;
    let start = opening + tags[opening..].find('>')? + 1;
    let end = start + tags[start..].find("</title")?;
    let words: Vec<_> = page[start..end].split_whitespace().collect();
    let title: String = words.join(" ").chars().take(LONGEST_TITLE).collect();
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a body that came in this encoding.
    fn told(encoding: Option<&str>, body: &[u8]) -> String {
        let reply = Reply {
            body: body.to_owned(),
            encoding: encoding.map(str::to_owned),
            ..Reply::default()
        };
        reply
            .response()
            .map_or_else(|error| error.to_string(), |_| "an answer".to_owned())
    }

    #[test]
    fn encodings_are_named_where_they_are_the_fault_and_only_there() {
        const PLAIN: &[u8] = b"<response><app><updatecheck status=\"noupdate\"/></app></response>";
        for encoding in ["gzip", "br", "deflate", "zstd"] {
            let told_of = told(Some(encoding), b"\x8b\x00\xff");
            assert!(
                told_of.contains(&format!("in Content-Encoding {encoding:?}, which")),
                "{told_of}"
            );
            assert_eq!(told(Some(encoding), PLAIN), "an answer");
        }
        assert!(told(None, b"\x1f\x8b\x08").contains("\"gzip\""));
        assert!(told(None, b"\x28\xb5\x2f\xfd\x00").contains("\"zstd\""));
        assert_eq!(told(Some("gzip"), b""), "the server's answer is empty");
        let refused = br#"<response><app status="error-noPackageFound"/></response>"#;
        assert!(told(Some("gzip"), refused).starts_with("the server refuses: the channel"));
    }
}

#[cfg(test)]
mod web_page_tests {
    use super::*;

    fn told(body: &str, from: Option<&str>) -> Option<String> {
        WebPage::of(body.as_bytes(), from).map(|page| page.to_string())
    }

    #[test]
    fn pages_are_told_from_answers_and_login_pages_from_pages() {
        let page =
            "\u{feff}<!DOCTYPE html>\n<html><head><title lang=en>\n Nebraska\u{202e} </title></head><body>";
        let told_of = |body: &str, from| told(body, from).unwrap_or_default();
        assert!(told_of(page, None).starts_with("a web page (\"Nebraska\\u{202e}\") came"));
        assert!(told_of(page, None).contains("SERVER must be the URL"));
        let elsewhere = told_of(page, Some("http://wifi.example/"));
        assert!(elsewhere.starts_with("a login page (\"Nebraska\\u{202e}\") at http://wifi.example/ came"));
        let form = told_of("<HTML><form><input TYPE=Password></form></HTML>", None);
        assert!(form.starts_with("a login page came"), "{form}");
        for answer in ["garbage", "", "<?xml version=\"1.0\"?><response/>", "\u{1f8b}"] {
            assert_eq!(told(answer, Some("http://wifi.example/")), None, "{answer}");
        }
    }

    #[test]
    fn no_page_is_too_odd_to_be_told_of() {
        for page in [
            "<html><title",
            "<html><title>",
            "<html></title><title>",
            "<html><title></title>",
        ] {
            assert!(
                told(page, None).is_some_and(|told| told.starts_with("a web page came")),
                "{page}"
            );
        }
        let long = format!("<html><title>{}</title>", "é".repeat(1000));
        assert!(told(&long, None).is_some_and(|told| told.chars().count() < 400));
    }
}
