//! Text made safe for an attribute value.

use std::fmt::{self, Write as _};

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
