//! Redaction of URLs in texts for users: scheme, host, port and path stay; credentials and queries
//! go.

use url::Url;

/// Mark in place of redacted parts.
const CUT: char = '…';

/// Schemes whose URLs are also read without slashes, or with any number of them.
const OF_SERVERS: [&str; 2] = ["http", "https"];

/// `text` with each URL in it as [`redact_url`] shows it: passwords and signed links travel in the
/// parts before `@` and after `?`.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((scheme, colon)) = next_url(rest) {
        let end = rest[colon..]
            .find(|c: char| c.is_whitespace() || is_delimiter(c))
            .map_or(rest.len(), |length| colon + length);
        // What ends a sentence, or closes a quotation, is none of the URL's.
        let url = rest[scheme..end].trim_end_matches([':', ',', ';', '.', ')', '\'']);
        shown.push_str(&rest[..scheme]);
        shown.push_str(&redact_url(url));
        rest = &rest[scheme + url.len()..];
    }
    shown.push_str(rest);
    without_queries(&shown)
}

/// Offsets of the next URL in `text`: its start, and the end of its scheme.
fn next_url(text: &str) -> Option<(usize, usize)> {
    text.match_indices(':').find_map(|(colon, _)| {
        let scheme = text[..colon].rfind(|c: char| !is_scheme(c)).map_or(0, |before| {
            before + text[before..].chars().next().map_or(1, char::len_utf8)
        });
        let after = &text[colon + 1..];
        let goes_on = after.starts_with(|c: char| !c.is_whitespace() && !is_delimiter(c));
        let of_server = OF_SERVERS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&text[scheme..colon]));
        (after.starts_with("//") || (of_server && goes_on)).then_some((scheme, colon))
    })
}

/// `text` with queries cut off that no URL comes before: the name of a file in an offer may have
/// one.
fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('?') {
        let (before, query) = rest.split_at(at);
        let key =
            query[1..].find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%')));
        let is_query = !before.ends_with(|c: char| c.is_whitespace() || is_delimiter(c))
            && !before.is_empty()
            && key.is_some_and(|end| end > 0 && query[1 + end..].starts_with('='));
        let end = if is_query {
            query
                .find(|c: char| c.is_whitespace() || is_delimiter(c))
                .unwrap_or(query.len())
        } else {
            1
        };
        shown.push_str(before);
        if is_query {
            shown.push(CUT);
        } else {
            shown.push('?');
        }
        rest = &query[end..];
    }
    shown.push_str(rest);
    shown
}

const fn is_delimiter(c: char) -> bool {
    matches!(c, '"' | '<' | '>')
}

/// `url` without user name and password, and with a mark in the place of query and fragment. A text
/// that is no URL loses every part that may be one of these.
#[must_use]
pub fn redact_url(url: &str) -> String {
    // What readers of URLs pass over before the host.
    let slashes = ['/', '\\', '\t', '\n', '\r'];
    let start = url.find("://").map_or(0, |at| {
        url.len() - url[at + 3..].trim_start_matches(slashes).len()
    });
    let (scheme, rest) = url.split_at(start);
    let host = if start > 0 && Url::parse(url).is_ok_and(|url| url.has_host()) {
        let authority = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        rest[..authority].rfind('@').map_or(0, |at| at + 1)
    } else {
        rest.rfind('@').map_or(0, |at| at + 1)
    };
    let rest = &rest[host..];
    match rest.find(['?', '#']) {
        Some(query) => format!("{scheme}{}{CUT}", &rest[..query]),
        None => format!("{scheme}{rest}"),
    }
}

const fn is_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_no_passwords_and_no_signed_links() {
        for (said, shown) in [
            ("no URL at all", "no URL at all"),
            ("a :// b", "a :// b"),
            (
                "cannot fetch https://me:secret@host:8/a/b.gz?token=1: refused",
                "cannot fetch https://host:8/a/b.gz…: refused",
            ),
            (
                "http://host?key and \"http://u@host/a@b\"",
                "http://host… and \"http://host/a@b\"",
            ),
            ("(http://a:b)c'd@host/x?y)", "(http://host/x…)"),
            ("socks5://a:b@proxy", "socks5://proxy"),
            (
                "<url codebase=\"https://a:b@c/d?e&amp;f\"/>",
                "<url codebase=\"https://c/d…\"/>",
            ),
            (
                "from http://a:b@c/?d to http://e#f",
                "from http://c/… to http://e…",
            ),
            ("é://x@y", "é://y"),
            (
                "<package name=\"update.gz?sig=1&amp;x=2\" size=\"3\"/>",
                "<package name=\"update.gz…\" size=\"3\"/>",
            ),
            (
                "from http:///me:secret@host/x?y to https:/me:secret@host: refused",
                "from http:///host/x… to host: refused",
            ),
            ("HTTPS:me:secret@host, http: none", "host, http: none"),
            ("at http:\\\\me:secret@host/", "at host/"),
            (
                "<?xml version=\"1.0\"?><a/> what? a=b ?c=d",
                "<?xml version=\"1.0\"?><a/> what? a=b ?c=d",
            ),
        ] {
            assert_eq!(redact(said), shown);
        }
    }

    #[test]
    fn of_what_is_no_url_nothing_is_shown_that_may_be_a_secret() {
        for (url, shown) in [
            ("me:secret@host/path?key", "host/path…"),
            ("htp:/me:secret@host", "host"),
            ("http://me:sec/ret@host/", "http://host/"),
            ("http://me:sec?ret@host/", "http://host/"),
            ("http://me:s\"ec ret@host/x", "http://host/x"),
            ("http://me:s<e>c\"r@host/x", "http://host/x"),
            ("http:///me:secret@host/x", "http:///host/x"),
            ("http:\\/me:secret@host/", "host/"),
            ("http://\\\t/me:secret@host/", "http://\\\t/host/"),
            ("https:/me:secret@host", "host"),
            ("https:me:secret@host", "host"),
            (
                "http://me:secret@[fe80::1%25eth0]:80/x?y",
                "http://[fe80::1%25eth0]:80/x…",
            ),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }
}
