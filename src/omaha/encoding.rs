//! Encodings of a response: UTF-8, and UTF-16 and Latin-1 where it says so. The original's library reads these and more.

use std::borrow::Cow;

use thiserror::Error;

/// Bytes in which an XML declaration ends.
const LONGEST_DECLARATION: usize = 200;

/// Why bytes are no text.
#[derive(Debug, Error)]
pub enum TextError {
    /// Not UTF-8, and not declared as anything else.
    #[error("the response is not UTF-8")]
    Utf8(#[from] std::str::Utf8Error),
    /// It begins like UTF-16 and isn't.
    #[error("the response is not UTF-16, though it begins like it")]
    Utf16,
    /// Declared in an encoding that isn't read.
    #[error("the response is in the encoding {0:?}: UTF-8, UTF-16 and ISO-8859-1 are read")]
    Unknown(String),
}

/// The text of an XML document: by its first bytes, then by its declaration. Text that is UTF-8 and declared as UTF-16
/// is read as what it is.
pub(super) fn text_of(bytes: &[u8]) -> Result<Cow<'_, str>, TextError> {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => declared(rest),
        [0xff, 0xfe, rest @ ..] | rest @ [b'<', 0, ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] | rest @ [0, b'<', ..] => utf16(rest, u16::from_be_bytes),
        _ => declared(bytes),
    }
}

fn declared(bytes: &[u8]) -> Result<Cow<'_, str>, TextError> {
    let name = encoding_name(bytes).unwrap_or_default();
    match name.to_ascii_uppercase().as_str() {
        "" | "UTF-8" | "UTF8" | "UTF-16" | "US-ASCII" | "ASCII" => Ok(std::str::from_utf8(bytes)?.into()),
        // Its characters are the first of Unicode.
        "ISO-8859-1" | "ISO_8859-1" | "LATIN1" | "LATIN-1" => {
            Ok(bytes.iter().copied().map(char::from).collect::<String>().into())
        }
        // Whatever they are, these bytes mean the same.
        _ if bytes.is_ascii() => Ok(std::str::from_utf8(bytes)?.into()),
        _ => Err(TextError::Unknown(name)),
    }
}

/// The name in the declaration, `<?xml version="1.0" encoding="NAME"?>`.
fn encoding_name(bytes: &[u8]) -> Option<String> {
    let beginning = bytes.strip_prefix(b"<?xml")?;
    let beginning = String::from_utf8_lossy(&beginning[..beginning.len().min(LONGEST_DECLARATION)]);
    let (declaration, _) = beginning.split_once("?>")?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split_once(quote).map(|(name, _)| name.to_owned())
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, TextError> {
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(TextError::Utf16);
    }
    let units = pairs.map(|pair| unit([pair[0], pair[1]]));
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.map(Cow::from).map_err(|_| TextError::Utf16)
}
