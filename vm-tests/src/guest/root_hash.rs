//! The dm-verity root hash of a `/usr`, and its place in the kernel's file.
//!
//! As Flatcar's build has it: 64 hexadecimal digits in a place of the header that nobody reads but the loader, which puts
//! them on the kernel's command line.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use payload_format::Sha256Digest;

use crate::architecture::Architecture;
use crate::files;

/// The root of a hash tree, as digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootHash(String);

impl RootHash {
    /// Offset of the digits on x86.
    const X86: usize = 64;
    /// That on arm64.
    const ARM64: usize = 512;
    /// How many there are.
    const LEN: usize = 64;

    /// Of the hash itself.
    pub(super) fn new(hash: [u8; 32]) -> Self {
        Self(Sha256Digest::from(hash).to_string())
    }

    /// Another one, of no image.
    pub(crate) fn other(&self) -> Self {
        let first = if self.0.starts_with('0') { "1" } else { "0" };
        Self(format!("{first}{}", &self.0[1..]))
    }

    /// Offset of the digits in a kernel's file.
    fn place(architecture: Architecture) -> usize {
        match architecture {
            Architecture::Amd64 => Self::X86,
            Architecture::Arm64 | Architecture::Arm64Pages16K => Self::ARM64,
        }
    }

    /// Writes it into the beginning of a kernel's file.
    pub(super) fn write_into(&self, kernel: &mut [u8], architecture: Architecture) -> Result<()> {
        let place = Self::place(architecture);
        let digits = kernel.get_mut(place..place + Self::LEN);
        digits
            .context("the kernel is too short for a root hash")?
            .copy_from_slice(self.0.as_bytes());
        Ok(())
    }

    /// Writes it into the kernel at `path`, an EFI application that objcopy has made: between the two headers of such a
    /// one lies a program for DOS.
    pub(crate) fn write_into_application(&self, path: &Path, architecture: Architecture) -> Result<()> {
        ensure!(
            architecture == Architecture::Amd64,
            "on arm64 an EFI application made of a kernel and its initrd has its sections' headers where the root hash belongs"
        );
        let mut kernel = files::read(path)?;
        let second_header = kernel.get(0x3c..0x40).and_then(|at| at.try_into().ok());
        let second_header = second_header.map(u32::from_le_bytes).unwrap_or_default();
        ensure!(
            usize::try_from(second_header)? >= Self::X86 + Self::LEN,
            "{} has no room for a root hash",
            path.display()
        );
        self.write_into(&mut kernel, architecture)?;
        files::write(path, &kernel)
    }

    /// That in a kernel's file.
    pub(crate) fn of_kernel(path: &Path, architecture: Architecture) -> Result<Self> {
        let place = Self::place(architecture);
        let kernel = files::read(path)?;
        let digits = kernel
            .get(place..place + Self::LEN)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        match digits {
            Some(digits) if digits.bytes().all(is_digit) => Ok(Self(digits.to_owned())),
            _ => bail!("{} carries no root hash", path.display()),
        }
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
