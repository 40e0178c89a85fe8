//! The payload's first bytes: 20 in major version 1, 24 in version 2.

use thiserror::Error;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which layout follows.
    pub version: MajorVersion,
    /// Length of the manifest in bytes, as claimed: to be held against a limit before use.
    pub manifest_len: u64,
    /// Length of the metadata's signatures in bytes, as claimed; 0 in version 1, which has none.
    pub metadata_signatures_len: u32,
}

/// Layouts that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MajorVersion {
    /// One partition and its procedures; the manifest ends where the data begins.
    V1,
    /// Partitions by name; signatures of the metadata stand between manifest and data.
    V2,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The first four bytes are not `CrAU`.
    #[error("not an update payload: it starts with {0:02x?} instead of \"CrAU\"{hint}", hint = looks_like(*.0))]
    Magic([u8; 4]),
    /// A layout that this crate doesn't read.
    #[error("payload of major version {0}; only versions 1 and 2 are supported")]
    Version(u64),
}

/// What files that begin so mostly are.
const fn looks_like(magic: [u8; 4]) -> &'static str {
    match magic {
        [b'<', ..] => ", as a web page or a login page does",
        [0x1f, 0x8b, ..] => ", as what gzip packed does",
        [0x28, 0xb5, 0x2f, 0xfd] => ", as what zstd packed does",
        _ => "",
    }
}

impl MajorVersion {
    /// Length of the header in bytes.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::V1 => Header::MIN_LEN,
            Self::V2 => Header::MIN_LEN + 4,
        }
    }

    /// As a number.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl Header {
    /// Bytes that tell how long the header is: magic, version, manifest length.
    pub const MIN_LEN: usize = 20;

    /// The first four bytes of every payload.
    pub const MAGIC: [u8; 4] = *b"CrAU";

    /// Reads a header from the payload's first bytes; `None` if there are too few of them.
    ///
    /// # Errors
    /// [`HeaderError`] for a foreign magic or an unsupported version.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HeaderError> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<{ Self::MIN_LEN }>() else {
            return Ok(None);
        };
        let [m0, m1, m2, m3, v0, v1, v2, v3, v4, v5, v6, v7, len @ ..] = *fixed;
        let magic = [m0, m1, m2, m3];
        if magic != Self::MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let (version, metadata_signatures_len) = match u64::from_be_bytes([v0, v1, v2, v3, v4, v5, v6, v7]) {
            1 => (MajorVersion::V1, Some(0)),
            2 => (
                MajorVersion::V2,
                rest.first_chunk().copied().map(u32::from_be_bytes),
            ),
            other => return Err(HeaderError::Version(other)),
        };
        Ok(metadata_signatures_len.map(|metadata_signatures_len| Self {
            version,
            manifest_len: u64::from_be_bytes(len),
            metadata_signatures_len,
        }))
    }

    /// The header as it lies in the payload.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Self::MAGIC.to_vec();
        bytes.extend(self.version.number().to_be_bytes());
        bytes.extend(self.manifest_len.to_be_bytes());
        if self.version == MajorVersion::V2 {
            bytes.extend(self.metadata_signatures_len.to_be_bytes());
        }
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const V2: Header = Header {
        version: MajorVersion::V2,
        manifest_len: 1082,
        metadata_signatures_len: 267,
    };

    #[test]
    fn headers_survive_the_round_trip() {
        let v1 = Header {
            version: MajorVersion::V1,
            metadata_signatures_len: 0,
            ..V2
        };
        for (header, len) in [(v1, 20), (V2, 24)] {
            let bytes = header.to_bytes();
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes.len(), header.version.header_len());
            assert_eq!(Header::parse(&bytes), Ok(Some(header)));
        }
    }

    #[test]
    fn a_header_that_is_cut_off_needs_more() {
        for len in 0..24 {
            assert_eq!(Header::parse(&V2.to_bytes()[..len]), Ok(None));
        }
    }

    #[test]
    fn a_foreign_magic_is_named() {
        let mut bytes = V2.to_bytes();
        bytes[..4].copy_from_slice(b"\x1f\x8b\x08\x00");
        let error = Header::parse(&bytes).unwrap_err();
        assert_eq!(error, HeaderError::Magic(*b"\x1f\x8b\x08\x00"));
        assert!(error.to_string().contains("[1f, 8b, 08, 00]"), "{error}");
    }

    #[test]
    fn another_major_version_is_named() {
        let mut bytes = V2.to_bytes();
        bytes[11] = 3;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(3)));
    }
}
