//! The reply to a POST, before it is understood.

use super::response::{Response, ResponseError, WebPage};

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
