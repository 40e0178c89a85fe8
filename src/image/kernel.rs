//! The header of a kernel's file: its architecture, and the root hash that Flatcar writes into it.
//!
//! ```text
//!            x86 bzImage                            arm64 Image
//!   magic    0x1fe 55 aa, 0x202 "HdrS"              0x38 "ARM\x64"
//!   hash     at 64, in the text of the boot         at 512, between the EFI headers
//!            sector that nothing runs any more      and the code
//! ```
//!
//! Any other EFI application (a unified kernel image, for one) tells its machine in its own header, and
//! has the hash in the same place, as the slot loader reads it.
//!
//! The hash is 64 hexadecimal digits in lower case: the root of the dm-verity tree of the `/usr`
//! that the kernel was built with. Flatcar's GRUB appends it to the command line as
//! `verity.usrhash=` if all 64 are such digits, and nothing otherwise; the same is done here.
//! Sources: Linux' `Documentation/arch/x86/boot.rst` and `arch/arm64/booting.rst`; Flatcar's
//! `build_library/build_image_util.sh` (`verity_offset`) and its patch to GRUB.

use payload_format::Sha256Digest;

/// What is told by the first bytes of a kernel's file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KernelHeader {
    /// Its architecture in systemd's words; none if it is neither of the two above.
    pub architecture: Option<&'static str>,
    /// The root hash of the `/usr` that it belongs to; none if it was built without.
    pub root_hash: Option<Sha256Digest>,
}

impl KernelHeader {
    /// Bytes of the file that are looked at.
    pub const LEN: usize = 1024;

    /// Of a file that begins with `head`, which is shorter than [`Self::LEN`] if the file is.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        let is = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
        if is(0x1fe, &[0x55, 0xaa]) && is(0x202, b"HdrS") {
            return Self {
                architecture: Some("x86-64"),
                root_hash: hash_at(head, 64),
            };
        }
        if is(0x38, b"ARM\x64") {
            return Self {
                architecture: Some("arm64"),
                root_hash: hash_at(head, 512),
            };
        }
        match machine_of_application(head) {
            Some(0x8664) => Self {
                architecture: Some("x86-64"),
                root_hash: hash_at(head, 64),
            },
            Some(0xaa64) => Self {
                architecture: Some("arm64"),
                root_hash: hash_at(head, 512),
            },
            _ => Self::default(),
        }
    }
}

/// The machine that an EFI application is for; none if the file is no such one, or its header isn't
/// among the bytes that are looked at. Source: Microsoft's "PE Format".
fn machine_of_application(head: &[u8]) -> Option<u16> {
    let at = u32::from_le_bytes(head.get(0x3c..0x40)?.try_into().ok()?);
    let header = head.get(usize::try_from(at).ok()?..)?;
    let is_application = head.starts_with(b"MZ") && header.starts_with(b"PE\0\0");
    let machine = header.get(4..6)?.try_into().ok()?;
    is_application.then_some(u16::from_le_bytes(machine))
}

fn hash_at(head: &[u8], offset: usize) -> Option<Sha256Digest> {
    let digits = head.get(offset..offset + 2 * Sha256Digest::LEN)?;
    let mut hash = [0; Sha256Digest::LEN];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(hash.into())
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8] = b"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn x86() -> Vec<u8> {
        let mut head = vec![0x90; KernelHeader::LEN];
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head
    }

    fn arm64() -> Vec<u8> {
        let mut head = vec![0; KernelHeader::LEN];
        head[0x38..0x3c].copy_from_slice(b"ARM\x64");
        head
    }

    #[test]
    fn the_hash_is_where_each_architecture_has_it() {
        for (mut head, offset, name) in [(x86(), 64, "x86-64"), (arm64(), 512, "arm64")] {
            assert_eq!(KernelHeader::of(&head).root_hash, None, "{name}");
            head[offset..offset + 64].copy_from_slice(DIGITS);
            let header = KernelHeader::of(&head);
            assert_eq!(header.architecture, Some(name));
            assert_eq!(
                header.root_hash.map(|hash| hash.to_string()).as_deref(),
                std::str::from_utf8(DIGITS).ok()
            );
            // GRUB takes no capitals, and nothing of 63 digits.
            head[offset + 20] = b'A';
            assert_eq!(KernelHeader::of(&head).root_hash, None, "{name}");
        }
    }

    /// An EFI application with its header at 0x80.
    fn application(machine: u16) -> Vec<u8> {
        let mut head = vec![0; KernelHeader::LEN];
        head[..2].copy_from_slice(b"MZ");
        head[0x3c] = 0x80;
        head[0x80..0x84].copy_from_slice(b"PE\0\0");
        head[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
        head
    }

    #[test]
    fn an_application_of_kernel_and_initrd_tells_its_machine_and_has_the_hash_in_the_same_place() {
        for (machine, offset, name) in [(0x8664, 64, "x86-64"), (0xaa64, 512, "arm64")] {
            let mut head = application(machine);
            let without = KernelHeader::of(&head);
            assert_eq!((without.architecture, without.root_hash), (Some(name), None));
            head[offset..offset + 64].copy_from_slice(DIGITS);
            let hash = KernelHeader::of(&head).root_hash.map(|hash| hash.to_string());
            assert_eq!(hash.as_deref(), std::str::from_utf8(DIGITS).ok());
        }
        // For another machine, or with its header behind what is looked at, or damaged.
        assert_eq!(KernelHeader::of(&application(0x14c)), KernelHeader::default());
        for (offset, byte) in [(0, b'X'), (0x3d, 0xff), (0x3f, 0xff), (0x80, 0)] {
            let mut head = application(0x8664);
            head[offset] = byte;
            assert_eq!(KernelHeader::of(&head), KernelHeader::default(), "{offset:#x}");
        }
    }

    #[test]
    fn a_short_file_or_another_one_says_nothing() {
        for head in [&b""[..], b"MZ", &[0x55; 0x204], b"a kernel of the tests"] {
            assert_eq!(KernelHeader::of(head), KernelHeader::default());
        }
        assert_eq!(KernelHeader::of(&x86()[..0x206]).architecture, Some("x86-64"));
    }
}
