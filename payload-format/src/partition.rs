//! Extra partitions of major version 2, by name.

use std::fmt;

/// What a payload calls a partition that is neither the slot nor one of its files.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionName {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl PartitionName {
    /// Bytes at most.
    pub const MAX_LEN: usize = 23;

    /// `None` unless it is 1 to 23 ASCII letters, digits, `-` and `_`, and not the name of the slot
    /// or of one of its files.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(allowed) || crate::ImageKind::of_partition(name).is_some() {
            return None;
        }
        let mut bytes = [0; Self::MAX_LEN];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let len = u8::try_from(name.len()).ok()?;
        Some(Self { len, bytes })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or_default();
        // Invariant: ASCII, by `new`.
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

/// As much as is told of a name, whatever is in it: it may have megabytes.
pub(crate) fn told(name: &str) -> String {
    const LONGEST: usize = 64;
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionName({:?})", self.as_str())
    }
}

/// Which extra partitions a payload may build, and how much fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraPartitionLimits {
    /// Any, of any length: where nothing is written.
    Any,
    /// These, with their lengths in bytes.
    These([Option<(PartitionName, u64)>; Self::MAX]),
}

impl ExtraPartitionLimits {
    /// So many at most.
    pub const MAX: usize = 4;

    /// None at all.
    pub const NONE: Self = Self::These([None; Self::MAX]);

    /// The first [`Self::MAX`] of these.
    #[must_use]
    pub fn these(partitions: impl IntoIterator<Item = (PartitionName, u64)>) -> Self {
        let mut partitions = partitions.into_iter();
        Self::These(std::array::from_fn(|_| partitions.next()))
    }

    /// Bytes that fit into the partition of this name; `None` if there is none.
    #[must_use]
    pub fn room(&self, name: PartitionName) -> Option<u64> {
        match self {
            Self::Any => Some(u64::MAX),
            Self::These(partitions) => {
                let mut partitions = partitions.iter().flatten();
                partitions.find(|(known, _)| *known == name).map(|(_, len)| *len)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_plain_and_none_of_the_slots() {
        for name in ["oem", "system_ext", "a", "12345678901234567890123"] {
            assert_eq!(PartitionName::new(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "usr",
            "root",
            "kernel",
            "pcr_policy",
            "a/b",
            "..",
            "ö",
            "123456789012345678901234",
        ] {
            assert_eq!(PartitionName::new(name), None, "{name}");
        }
    }

    #[test]
    fn only_named_partitions_have_room() {
        let name = |name| PartitionName::new(name).unwrap();
        let these = ExtraPartitionLimits::these([(name("oem"), 5), (name("firmware"), 7)]);
        assert_eq!(these.room(name("firmware")), Some(7));
        assert_eq!(these.room(name("other")), None);
        assert_eq!(ExtraPartitionLimits::NONE.room(name("oem")), None);
        assert_eq!(ExtraPartitionLimits::Any.room(name("oem")), Some(u64::MAX));
    }
}
