//! The payload's first 20 bytes.

use thiserror::Error;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which layout follows.
    pub version: MajorVersion,
    /// Length of the manifest in bytes, as claimed: to be held against a limit before use.
    pub manifest_len: u64,
}

/// Layouts that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MajorVersion {
    /// One partition and its procedures; the manifest ends where the data begins.
    V1,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The first four bytes are not `CrAU`.
    #[error("not an update payload: it starts with {0:02x?} instead of \"CrAU\"")]
    Magic([u8; 4]),
    /// A layout that this crate doesn't read.
    #[error("payload of major version {0}; only version 1 is supported")]
    Version(u64),
}

impl Header {
    /// Length in bytes: magic, version, manifest length.
    pub const LEN: usize = 20;

    /// The first four bytes of every payload.
    pub const MAGIC: [u8; 4] = *b"CrAU";

    /// Reads a header.
    ///
    /// # Errors
    /// [`HeaderError`] for a foreign magic or an unsupported version.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, HeaderError> {
        let [m0, m1, m2, m3, rest @ ..] = *bytes;
        let magic = [m0, m1, m2, m3];
        if magic != Self::MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let [v0, v1, v2, v3, v4, v5, v6, v7, len @ ..] = rest;
        let version = match u64::from_be_bytes([v0, v1, v2, v3, v4, v5, v6, v7]) {
            1 => MajorVersion::V1,
            other => return Err(HeaderError::Version(other)),
        };
        Ok(Self {
            version,
            manifest_len: u64::from_be_bytes(len),
        })
    }

    /// The header as it lies in the payload.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let version: u64 = match self.version {
            MajorVersion::V1 => 1,
        };
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&Self::MAGIC);
        bytes[4..12].copy_from_slice(&version.to_be_bytes());
        bytes[12..].copy_from_slice(&self.manifest_len.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_round_trip() {
        let header = Header {
            version: MajorVersion::V1,
            manifest_len: 1082,
        };
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
    }

    #[test]
    fn a_foreign_magic_is_named() {
        let mut bytes = [0; Header::LEN];
        bytes[..4].copy_from_slice(b"\x1f\x8b\x08\x00");
        let error = Header::parse(&bytes).unwrap_err();
        assert_eq!(error, HeaderError::Magic(*b"\x1f\x8b\x08\x00"));
        assert!(error.to_string().contains("[1f, 8b, 08, 00]"), "{error}");
    }

    #[test]
    fn another_major_version_is_named() {
        let mut bytes = Header {
            version: MajorVersion::V1,
            manifest_len: 0,
        }
        .to_bytes();
        bytes[11] = 2;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(2)));
    }
}
