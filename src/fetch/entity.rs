//! Version of a file as its server names it (RFC 9110 §8.8).

use std::fmt;

use http::header::{ETAG, HeaderMap, LAST_MODIFIED};

/// Longer validators are not worth keeping in a checkpoint; the file then counts as unnamed.
const LONGEST: usize = 1024;

/// A server's name for one version of a file: its strong entity tag, else its modification date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity(String);

impl Entity {
    /// Parses the text of [`Self::as_str`]; `None` if it cannot be an entity.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let strong = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
        // A date starts with the name of a day; a weak tag (`W/"…"`) promises no equal bytes.
        let date = text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.starts_with("W/");
        (printable && text.len() <= LONGEST && (strong || date)).then(|| Self(text.to_owned()))
    }

    /// Its text, for a checkpoint.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The entity that `headers` name.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        [ETAG, LAST_MODIFIED]
            .iter()
            .filter_map(|name| headers.get(name)?.to_str().ok())
            .find_map(Self::parse)
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let map = headers
            .iter()
            .map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))
            .collect();
        Entity::of(&map).map(|e| e.to_string())
    }

    #[test]
    fn a_strong_tag_wins_over_a_date_and_a_date_over_a_weak_tag() {
        let date = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(of(&[("etag", "\"a\""), date]).unwrap(), "\"a\"");
        assert_eq!(of(&[("etag", "W/\"a\""), date]).unwrap(), date.1);
        assert_eq!(of(&[("etag", "W/\"a\"")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_cannot_go_into_a_header_is_no_entity() {
        assert_eq!(Entity::parse("\"a\r\nb\""), None);
        assert_eq!(Entity::parse("\""), None);
        assert_eq!(Entity::parse(""), None);
        assert_eq!(Entity::parse(&format!("\"{}\"", "x".repeat(LONGEST))), None);
    }
}
