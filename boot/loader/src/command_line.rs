//! Command line of the kernel: the builder's file, with the slot's values put in.

use alloc::string::{String, ToString};

use slots::Guid;

use crate::letter::Letter;

/// A command line with places for what differs between the slots:
///
/// | place | becomes |
/// |---|---|
/// | `@PARTUUID@` | PARTUUID of the slot's partition |
/// | `@SLOT@` | `a` or `b` |
/// | `@USRHASH@` | the verity root hash that the kernel file carries: [`RootHash`] |
///
/// A line without `@PARTUUID@` gets ` mount.usr=PARTUUID=…` at its end: both slots would mount the
/// same /usr otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine(String);

/// Error of making a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// The line is longer than kernels accept.
    #[error("longer than {} bytes", CommandLine::LIMIT)]
    TooLong,
    /// A byte that isn't printable ASCII, a tab or the end of a line.
    #[error("byte {value:#04x} at offset {offset} is no ASCII text")]
    NotText {
        /// Offset from the start of the file.
        offset: usize,
        /// The byte.
        value: u8,
    },
    /// The line asks for a root hash, and the kernel has none.
    #[error("the kernel carries no root hash for @USRHASH@")]
    NoRootHash,
}

const PARTUUID: &str = "@PARTUUID@";
const SLOT: &str = "@SLOT@";
const USRHASH: &str = "@USRHASH@";

impl CommandLine {
    /// Path of the file on the EFI system partition.
    pub const PATH: &'static str = "\\cmdline";
    /// Longest file and finished line in bytes: the limit of the kernel on x86, without the NUL.
    pub const LIMIT: usize = 2047;

    /// Reads the file: lines are joined by blanks; those that start with `#` are left out. A
    /// carriage return ends a line as well: on a console it would hide what stands before it.
    ///
    /// # Errors
    /// If it is no ASCII text or too long.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommandLineError> {
        if bytes.len() > Self::LIMIT {
            return Err(CommandLineError::TooLong);
        }
        let is_text = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        if let Some(offset) = bytes.iter().position(|&byte| !is_text(byte)) {
            return Err(CommandLineError::NotText {
                offset,
                value: bytes[offset],
            });
        }
        // ASCII, as was just seen: nothing is lost.
        let text = String::from_utf8_lossy(bytes);
        let mut line = String::new();
        for part in text.split(['\r', '\n']).map(str::trim) {
            if !part.is_empty() && !part.starts_with('#') {
                append(&mut line, part);
            }
        }
        Ok(Self(line))
    }

    /// The line for one slot.
    ///
    /// # Errors
    /// If it needs a root hash that the kernel doesn't have, or becomes too long.
    pub fn expand(
        &self,
        slot: Letter,
        partition: Guid,
        hash: Option<RootHash>,
    ) -> Result<String, CommandLineError> {
        let mut line = self.0.clone();
        if !line.contains(PARTUUID) {
            append(&mut line, "mount.usr=PARTUUID=");
            line.push_str(PARTUUID);
        }
        line = line
            .replace(PARTUUID, &partition.to_string())
            .replace(SLOT, slot.lower().encode_utf8(&mut [0; 4]));
        if line.contains(USRHASH) {
            let hash = hash.ok_or(CommandLineError::NoRootHash)?;
            line = line.replace(USRHASH, hash.as_str());
        }
        if line.len() > Self::LIMIT {
            return Err(CommandLineError::TooLong);
        }
        Ok(line)
    }
}

fn append(line: &mut String, part: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(part);
}

/// dm-verity root hash of a slot's /usr: 64 lower-case hexadecimal digits that Flatcar's build
/// writes into an unused part of the kernel's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootHash([u8; Self::DIGITS]);

impl RootHash {
    const DIGITS: usize = 64;
    const START: usize = if cfg!(target_arch = "aarch64") { 512 } else { 64 };
    /// Number of a kernel's first bytes that have to be read to find it.
    pub const END: usize = Self::START + Self::DIGITS;

    /// The hash in a kernel's first bytes, if one is there.
    #[must_use]
    pub fn of_kernel(head: &[u8]) -> Option<Self> {
        let digits: [u8; Self::DIGITS] = head.get(Self::START..Self::END)?.try_into().ok()?;
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(is_digit).then_some(Self(digits))
    }

    fn as_str(&self) -> &str {
        // Digits are ASCII: `of_kernel` saw to it.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
