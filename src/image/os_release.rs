//! `os-release` and `extension-release` files, read by the grammar of systemd's environment files.
//!
//! `KEY=value` lines, in which
//! - a value may be in single quotes (verbatim) or double quotes (a backslash takes away the
//!   meaning of `"`, `\`, a backquote and `$`), and goes on behind the quotes;
//! - a backslash outside of quotes takes the next character as it is, and swallows a line's end;
//! - `#` and `;` at the beginning of a line start a comment; before systemd 254 a backslash in it
//!   made the next line a part of it;
//! - the last of several lines of a key counts.
//!
//! Source: `os-release(5)`, and the behaviour of systemd 252 and 257, which
//! `tests/fixtures/extensions` has recorded.

use std::collections::BTreeMap;

/// Longest file that is read, in bytes.
const LONGEST: usize = 64 << 10;

/// Why systemd doesn't take a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OsReleaseError {
    /// A key or a value is not UTF-8.
    #[error("a setting in it is not UTF-8")]
    NotUtf8,
    /// It has a zero byte.
    #[error("it has a zero byte")]
    Zero,
    /// It is longer than anybody reads.
    #[error("it has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
}

/// The settings of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease(BTreeMap<String, String>);

/// Whether a backslash at the end of a comment makes the next line a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommentRule {
    EndWithTheirLine,
    GoOnAfterBackslash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    BeforeKey,
    Key,
    BeforeValue,
    Value,
    ValueEscape,
    SingleQuotes,
    DoubleQuotes,
    DoubleQuotesEscape,
    Comment,
    CommentEscape,
}

impl OsRelease {
    /// Reads a file as systemd `version` does; without a version, as a current one.
    ///
    /// # Errors
    /// [`OsReleaseError`]: systemd refuses the whole file.
    pub fn parse(bytes: &[u8], version: Option<u32>) -> Result<Self, OsReleaseError> {
        if bytes.len() > LONGEST {
            return Err(OsReleaseError::TooLong(bytes.len()));
        }
        if bytes.contains(&0) {
            return Err(OsReleaseError::Zero);
        }
        let comments = match version {
            Some(..254) => CommentRule::GoOnAfterBackslash,
            _ => CommentRule::EndWithTheirLine,
        };
        let mut parser = ReleaseParser::new(comments);
        for byte in bytes {
            parser.take(*byte)?;
        }
        parser.finish()
    }

    /// The value of `key`; none if it is missing or empty, which systemd takes for the same.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of `key`, which may be empty; none if no line has it.
    #[must_use]
    pub fn get_or_empty(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether no line sets anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct ReleaseParser {
    comments: CommentRule,
    place: ParserState,
    key: Vec<u8>,
    value: Vec<u8>,
    /// Where the white space at the end of `value` begins that is outside of quotes.
    blanks: Option<usize>,
    settings: BTreeMap<String, String>,
}

impl ReleaseParser {
    fn new(comments: CommentRule) -> Self {
        Self {
            comments,
            place: ParserState::BeforeKey,
            key: Vec::new(),
            value: Vec::new(),
            blanks: None,
            settings: BTreeMap::new(),
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), OsReleaseError> {
        self.place = match self.place {
            ParserState::BeforeKey => self.before_key(byte),
            ParserState::Key => self.in_key(byte),
            ParserState::BeforeValue => return self.before_value(byte),
            ParserState::Value => return self.in_value(byte),
            ParserState::ValueEscape => {
                if !is_newline(byte) {
                    self.value.push(byte);
                }
                ParserState::Value
            }
            ParserState::SingleQuotes if byte == b'\'' => ParserState::BeforeValue,
            ParserState::DoubleQuotes if byte == b'"' => ParserState::BeforeValue,
            ParserState::DoubleQuotes if byte == b'\\' => ParserState::DoubleQuotesEscape,
            ParserState::SingleQuotes | ParserState::DoubleQuotes => {
                self.value.push(byte);
                self.place
            }
            ParserState::DoubleQuotesEscape => {
                match byte {
                    b'"' | b'\\' | b'`' | b'$' => self.value.push(byte),
                    b'\n' => {}
                    other => self.value.extend([b'\\', other]),
                }
                ParserState::DoubleQuotes
            }
            ParserState::Comment if byte == b'\\' => ParserState::CommentEscape,
            ParserState::Comment if is_newline(byte) => ParserState::BeforeKey,
            ParserState::CommentEscape
                if is_newline(byte) && self.comments == CommentRule::EndWithTheirLine =>
            {
                ParserState::BeforeKey
            }
            ParserState::Comment | ParserState::CommentEscape => ParserState::Comment,
        };
        Ok(())
    }

    fn before_key(&mut self, byte: u8) -> ParserState {
        if matches!(byte, b'#' | b';') {
            return ParserState::Comment;
        }
        if is_blank(byte) {
            return ParserState::BeforeKey;
        }
        self.key = vec![byte];
        ParserState::Key
    }

    fn in_key(&mut self, byte: u8) -> ParserState {
        match byte {
            byte if is_newline(byte) => ParserState::BeforeKey,
            b'=' => {
                self.value.clear();
                self.blanks = None;
                ParserState::BeforeValue
            }
            byte => {
                self.key.push(byte);
                ParserState::Key
            }
        }
    }

    fn before_value(&mut self, byte: u8) -> Result<(), OsReleaseError> {
        self.place = match byte {
            byte if is_newline(byte) => return self.end_of_setting(),
            b'\'' => ParserState::SingleQuotes,
            b'"' => ParserState::DoubleQuotes,
            b'\\' => ParserState::ValueEscape,
            byte if is_blank(byte) => ParserState::BeforeValue,
            byte => {
                self.value.push(byte);
                ParserState::Value
            }
        };
        Ok(())
    }

    fn in_value(&mut self, byte: u8) -> Result<(), OsReleaseError> {
        match byte {
            byte if is_newline(byte) => {
                if let Some(end) = self.blanks {
                    self.value.truncate(end);
                }
                return self.end_of_setting();
            }
            b'\\' => {
                self.place = ParserState::ValueEscape;
                self.blanks = None;
            }
            byte => {
                if is_blank(byte) {
                    self.blanks.get_or_insert(self.value.len());
                } else {
                    self.blanks = None;
                }
                self.value.push(byte);
            }
        }
        Ok(())
    }

    fn end_of_setting(&mut self) -> Result<(), OsReleaseError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| OsReleaseError::NotUtf8);
        let key = std::mem::take(&mut self.key);
        let key = text(key.trim_ascii_end().to_vec())?;
        let value = text(std::mem::take(&mut self.value))?;
        self.settings.insert(key, value);
        self.blanks = None;
        self.place = ParserState::BeforeKey;
        Ok(())
    }

    /// The end of the file ends a value, in quotes or not.
    fn finish(mut self) -> Result<OsRelease, OsReleaseError> {
        match self.place {
            ParserState::Value => {
                if let Some(end) = self.blanks {
                    self.value.truncate(end);
                }
                self.end_of_setting()?;
            }
            ParserState::BeforeValue
            | ParserState::ValueEscape
            | ParserState::SingleQuotes
            | ParserState::DoubleQuotes
            | ParserState::DoubleQuotesEscape => self.end_of_setting()?,
            ParserState::BeforeKey | ParserState::Key | ParserState::Comment | ParserState::CommentEscape => {
            }
        }
        Ok(OsRelease(self.settings))
    }
}

fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Option<String> {
        let release = OsRelease::parse(text.as_bytes(), None).unwrap();
        release.get_or_empty("ID").map(str::to_owned)
    }

    #[test]
    fn values_are_those_of_a_shell_without_expansion() {
        for (text, expected) in [
            ("ID=flatcar\n", "flatcar"),
            ("ID=flatcar", "flatcar"),
            ("  ID =  flatcar  \n", "flatcar"),
            ("ID=\"flat car\"\n", "flat car"),
            ("ID='flat'\"car\"x\n", "flatcarx"),
            ("ID=\"a\\\"b\\x\"\n", "a\"b\\x"),
            ("ID='a\\b'\n", "a\\b"),
            ("ID=flat\\\ncar\n", "flatcar"),
            ("ID=old\nID=new\n", "new"),
            ("ID=\n", ""),
            ("#ID=a\n;ID=b\nID=c\n", "c"),
            ("ID=\"two\nlines\"\n", "two\nlines"),
        ] {
            assert_eq!(value(text).as_deref(), Some(expected), "{text:?}");
        }
        assert_eq!(value("ID\nNAME=x\n"), None);
        assert_eq!(value("export ID=x\n"), None);
    }

    #[test]
    fn a_comment_that_ends_in_a_backslash_took_the_next_line_along_before_254() {
        let text = b"#comment \\\nID=a\n";
        let id = |version| {
            OsRelease::parse(text, version)
                .unwrap()
                .get("ID")
                .map(str::to_owned)
        };
        assert_eq!((id(Some(252)), id(Some(254))), (None, Some("a".to_owned())));
    }

    #[test]
    fn what_systemd_refuses_is_refused() {
        let parse = |bytes: &[u8]| OsRelease::parse(bytes, None).unwrap_err();
        assert_eq!(parse(b"ID=\xff\n"), OsReleaseError::NotUtf8);
        assert_eq!(parse(b"ID=a\0\n"), OsReleaseError::Zero);
        assert!(OsRelease::parse(b"#\xff\nID=a\n", None).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = OsRelease::parse(&bytes, Some(252));
        }
    }
}
