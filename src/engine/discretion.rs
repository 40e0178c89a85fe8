//! What everybody may read of a sentence.

/// `text` with its URLs cut down to what everybody may know: passwords and signed links travel in the parts
/// before `@` and after `?`.
pub(super) fn without_secrets(text: &str) -> String {
    let mut open = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        let end = url
            .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ')'))
            .unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let user_end = url[..host_end].rfind('@').map_or(0, |at| at + 1);
        let query = url[user_end..].find(['?', '#']).map(|at| user_end + at);
        open.push_str(before);
        open.push_str(&url[user_end..query.unwrap_or(url.len())]);
        if let Some(query) = query {
            // The colon that ends a sentence is none of the URL's.
            open.push('…');
            if url[query..].ends_with(':') {
                open.push(':');
            }
        }
        rest = after;
    }
    open.push_str(rest);
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_reads_has_no_passwords_and_no_signed_links() {
        for (said, shown) in [
            ("no URL at all", "no URL at all"),
            (
                "cannot fetch https://me:secret@host:8/a/b.gz?token=1: refused",
                "cannot fetch https://host:8/a/b.gz…: refused",
            ),
            (
                "http://host?key and \"http://u@host/a@b\"",
                "http://host… and \"http://host/a@b\"",
            ),
            ("socks5://a:b@proxy", "socks5://proxy"),
        ] {
            assert_eq!(without_secrets(said), shown);
        }
    }
}
