//! A protobuf message whose fields are looked up by number, without a schema: one of another
//! type than expected counts as absent, and one that is broken ends the message.

use crate::manifest::cursor::{Content, Cursor};

/// An encoded message.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncodedMessage<'a>(pub(super) &'a [u8]);

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of a fixed length.
    Fixed,
}

impl<'a> EncodedMessage<'a> {
    /// All fields, in their order.
    pub(super) fn fields(self) -> impl Iterator<Item = (u64, Value<'a>)> {
        let mut cursor = Cursor { bytes: self.0, at: 0 };
        std::iter::from_fn(move || {
            let end = cursor.bytes.len();
            if cursor.at >= end {
                return None;
            }
            let (field, content) = cursor.field(end).ok()?;
            let value = match content {
                Content::Number(number) => Value::Number(number),
                Content::Fixed => Value::Fixed,
                Content::Bytes(len) => {
                    let start = cursor.at;
                    // Invariant: the cursor has held the length to the message's end.
                    cursor.at = start + len;
                    Value::Bytes(self.0.get(start..cursor.at)?)
                }
            };
            Some((field, value))
        })
    }

    /// The last value of a number, which is the one that counts.
    pub(super) fn number(self, field: u64) -> Option<u64> {
        let numbers = self.fields().filter_map(|(number, value)| match value {
            Value::Number(value) if number == field => Some(value),
            _ => None,
        });
        numbers.last()
    }

    /// All values of a field of bytes, text or messages.
    pub(super) fn all(self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.fields().filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if number == field => Some(bytes),
            _ => None,
        })
    }

    /// The last of them.
    pub(super) fn bytes(self, field: u64) -> Option<&'a [u8]> {
        self.all(field).last()
    }

    /// The last one as text, whatever is no text in it replaced.
    pub(super) fn text(self, field: u64) -> Option<String> {
        self.bytes(field)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The last one as a message.
    pub(super) fn message(self, field: u64) -> Option<Self> {
        self.bytes(field).map(Self)
    }
}
