//! Headers that explain a wrong body: encodings, web pages, logins.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// Longest value of a header that is shown, in characters.
const LONGEST: usize = 60;

/// The encoding of a body, if it has one. None is ever requested. Servers declare one even for
/// unencoded files whose names end in `.gz`: it explains an error, and is no error by itself.
#[must_use]
pub fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity"))
        .collect();
    (!values.is_empty()).then(|| values.join(", ").chars().take(LONGEST).collect())
}

/// Whether the body is a web page.
#[must_use]
pub fn is_web_page(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    value.is_some_and(|value| value.starts_with(b"text/html") || value.starts_with(b"application/xhtml"))
}

/// End of a sentence about a status by which a network or a proxy requires a login.
#[must_use]
pub const fn login_wanted(status: u16) -> Option<&'static str> {
    match status {
        407 => Some(": the proxy wants a user name and a password; its URL takes both before its host"),
        511 => Some(": the network wants a login, at its login page, before it lets anybody through"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_and_plain_is_none() {
        let told = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            content_encoding(&headers)
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["Identity", ""]), None);
        assert_eq!(told(&["gzip"]).as_deref(), Some("gzip"));
        assert_eq!(told(&["br", "zstd"]).as_deref(), Some("br, zstd"));
        assert_eq!(told(&[&"x".repeat(100)]).unwrap().len(), LONGEST);
    }
}
