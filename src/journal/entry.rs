//! One entry in journald's native protocol (systemd's `JOURNAL_NATIVE_PROTOCOL`): a datagram of
//! fields.
//!
//! ```text
//!  NAME=value\n                                        a value of one line
//!  NAME\n  length, 64 bits little endian  value  \n    any value
//! ```

/// A datagram in the making.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct JournalEntry(Vec<u8>);

impl JournalEntry {
    /// Adds a field. `name` is one of ours: capitals, digits and underscores, a capital first.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // A value is never longer than memory, whose addresses have 64 bits at most.
            let length = value.len() as u64;
            self.0.push(b'\n');
            self.0.extend_from_slice(&length.to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }

    /// What is to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_several_lines_can_not_pass_for_fields() {
        let mut entry = JournalEntry::default();
        entry.add("MESSAGE", "said:\nPRIORITY=0");
        entry.add("PRIORITY", "6");
        assert_eq!(
            entry.as_bytes(),
            b"MESSAGE\n\x10\0\0\0\0\0\0\0said:\nPRIORITY=0\nPRIORITY=6\n"
        );
    }
}
