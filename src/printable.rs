//! Escaping of untrusted text for display.

use std::borrow::Cow;

/// `text` with each invisible character written as its number: control characters, marks that
/// change the direction of writing, and others of no width could make a text show something else
/// than it says, or control a terminal. Line ends and tabs stay.
///
/// For all text that people read. What programs read is not changed.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let is_line_end = |at: usize| text[at..].starts_with("\r\n");
    let mut hidden = text
        .char_indices()
        .filter(|&(at, c)| !is_seen(c) && !is_line_end(at))
        .peekable();
    if hidden.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut from) = (String::with_capacity(text.len() + 16), 0);
    for (at, c) in hidden {
        shown.push_str(&text[from..at]);
        shown.extend(c.escape_default());
        from = at + c.len_utf8();
    }
    shown.push_str(&text[from..]);
    Cow::Owned(shown)
}

fn is_seen(c: char) -> bool {
    match c {
        '\n' | '\t' | ' '..='~' => true,
        '\0'..='\u{9f}' | '\u{2028}' | '\u{2029}' => false,
        c => c.is_whitespace() || is_printed_in_quotes(c),
    }
}

/// Whether the standard library's debug format leaves `c` as it is behind a letter. It escapes
/// format characters, and those that are unassigned or private.
fn is_printed_in_quotes(c: char) -> bool {
    let mut bytes = [b'a'; 5];
    let end = 1 + c.encode_utf8(&mut bytes[1..]).len();
    let text = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    text.escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_written_as_its_number() {
        for (text, shown) in [
            ("", ""),
            (
                "plain \\ \"text\" in 'quotes'\n\tand lines\r\n",
                "plain \\ \"text\" in 'quotes'\n\tand lines\r\n",
            ),
            (
                "naïve Übergröße, 日本語, עברית, 🦀, e\u{301}, 10\u{a0}MiB",
                "naïve Übergröße, 日本語, עברית, 🦀, e\u{301}, 10\u{a0}MiB",
            ),
            ("2.0.0\u{202e}0.0.9", "2.0.0\\u{202e}0.0.9"),
            (
                "\u{2066}a\u{2069}\u{200b}\u{feff}\u{ad}",
                "\\u{2066}a\\u{2069}\\u{200b}\\u{feff}\\u{ad}",
            ),
            ("a\u{2028}b\u{2029}c\u{85}d", "a\\u{2028}b\\u{2029}c\\u{85}d"),
            (
                "\x1b[31mred\x07\rover\0\x7f\u{9b}",
                "\\u{1b}[31mred\\u{7}\\rover\\u{0}\\u{7f}\\u{9b}",
            ),
            ("\u{e0041}\u{e000}\u{378}", "\\u{e0041}\\u{e000}\\u{378}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn every_format_character_is_hidden_and_no_printed_one_of_latin() {
        let format = [
            '\u{ad}',
            '\u{600}',
            '\u{61c}',
            '\u{70f}',
            '\u{180e}',
            '\u{2060}',
            '\u{fff9}',
            '\u{110bd}',
            '\u{1d173}',
        ];
        let ranges = ('\u{200b}'..='\u{200f}')
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2061}'..='\u{206f}');
        for c in ranges.chain(format).chain('\u{e0020}'..='\u{e007f}') {
            assert!(!is_seen(c), "{c:?}");
        }
        assert!(('\u{a1}'..='\u{ac}').chain('\u{ae}'..='\u{24f}').all(is_seen));
    }
}
