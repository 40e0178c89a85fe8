//! The signature of an extension's image (a DDI), read from the image itself.
//!
//! ```text
//!   partition table ─▶ partition of the root's signature ─▶ JSON
//!   JSON   { "rootHash": hex, "signature": base64 of PKCS #7, "certificateFingerprint": … }
//! ```
//!
//! The signature is that of the root hash's hexadecimal digits, in lower case. The fingerprint is
//! nobody's concern: systemd doesn't look at it. Without a partition table, or without that
//! partition, an image has no signature: systemd 252 to 257 merges it as it is.
//!
//! Sources: the Discoverable Partitions Specification; systemd's `dissect-image.c` of 252 and 257.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::OFlag;
use serde::Deserialize;
use slots::{Disk, Geometry, Gpt, GptError, Guid, Partition, SectorSize, Table};

use super::certificate::{Certificate, DetachedSignature, UnknownSignature};

/// Types of the partition with the signature of a root partition, by architecture in systemd's words.
const SIGNATURE_OF_ROOT: [(&str, u128); 21] = [
    ("x86-64", 0x41092b05_9fc8_4523_994f_2def0408b176),
    ("arm64", 0x6db69de6_29f4_4758_a7a5_962190f00ce3),
    ("alpha", 0xd46495b7_a053_414f_80f7_700c99921ef8),
    ("arc", 0x143a70ba_cbd3_4f06_919f_6c05683a78bc),
    ("arm", 0x42b0455f_eb11_491d_98d3_56145ba9d037),
    ("ia64", 0xe98b36ee_32ba_4882_9b12_0ce14655f46a),
    ("loongarch64", 0x5afb67eb_ecc8_4f85_ae8e_ac1e7c50e7d0),
    ("mips", 0xbba210a2_9c5d_45ee_9e87_ff2ccbd002d0),
    ("mips-le", 0xc919cc1f_4456_4eff_918c_f75e94525ca5),
    ("mips64", 0x43ce94d4_0f3d_4999_8250_b9deafd98e6e),
    ("mips64-le", 0x904e58ef_5c65_4a31_9c57_6af5fc7c5de7),
    ("parisc", 0x15de6170_65d3_431c_916e_b0dcd8393f25),
    ("ppc", 0x1b31b5aa_add9_463a_b2ed_bd467fc857e7),
    ("ppc64", 0xf5e2c20c_45b2_4ffa_bce9_2a60737e1aaf),
    ("ppc64-le", 0xd4a236e7_e873_4c07_bf1d_bf6cf7f1c3c6),
    ("riscv32", 0x3a112a75_8729_4380_b4cf_764d79934448),
    ("riscv64", 0xefe0f087_ea8d_4469_821a_4c2a96a8386a),
    ("s390", 0x3482388e_4254_435a_a241_766a065f9960),
    ("s390x", 0xc80187a5_73a3_491a_901a_017c3fa953e9),
    ("tilegx", 0xb3671439_97b0_4a53_90f7_2d5a8f3ad47b),
    ("x86", 0x5996fc05_109c_48de_808b_23fa0830b676),
];

/// Longest partition with a signature that is read, in bytes: `systemd-repart` makes 16 KiB.
const LONGEST: u64 = 256 << 10;

/// Bytes of a root hash: no digest is shorter or longer.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Why the signature of an image can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SignatureUnreadable {
    /// Reading failed.
    #[error("reading it: {0}")]
    Read(#[from] io::Error),
    /// It is a device or the like.
    #[error("it is no regular file")]
    NoFile,
    /// It begins like a partition table, and is none.
    #[error("its partition table: {0}")]
    Table(String),
    /// The partition lies outside of the image.
    #[error("sectors {first} to {last} with its signature lie outside of its {sectors} sectors")]
    Outside {
        /// First sector.
        first: u64,
        /// Last sector.
        last: u64,
        /// Those of the image.
        sectors: u64,
    },
    /// The partition is too long.
    #[error("{0} bytes with its signature, more than {LONGEST}")]
    TooLong(u64),
    /// It isn't the JSON that it should be.
    #[error("the JSON with its signature: {0}")]
    Json(String),
    /// What was signed is no root hash.
    #[error("its root hash is no hash: {0:.140?}")]
    RootHash(String),
    /// The signature is none that is known here.
    #[error("its signature: {0}")]
    Signature(#[from] UnknownSignature),
}

/// The signature of an extension's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSignature {
    /// What was signed.
    root_hash: String,
    signature: DetachedSignature,
}

#[derive(Deserialize)]
struct SignatureJson {
    #[serde(rename = "rootHash")]
    root_hash: String,
    signature: String,
}

impl ImageSignature {
    /// That of the image in the file `path`, on a machine of this architecture; none if it has none
    /// that systemd looks at.
    ///
    /// # Errors
    /// [`SignatureUnreadable`]: it may have one.
    pub fn of_file(path: &Path, architecture: &str) -> Result<Option<Self>, SignatureUnreadable> {
        // A pipe there would keep us waiting.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path)?;
        Self::of(file, architecture)
    }

    fn of(file: File, architecture: &str) -> Result<Option<Self>, SignatureUnreadable> {
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(SignatureUnreadable::NoFile);
        }
        let len = found.len();
        let Some(sector_size) = sector_size(&file, len)? else {
            return Ok(None);
        };
        let mut image = ImageSectors {
            file,
            geometry: Geometry {
                sector_size,
                sectors: len / u64::from(sector_size.bytes()),
            },
        };
        let table = Gpt::read(&mut image)
            .map_err(|error: GptError<io::Error>| SignatureUnreadable::Table(error.to_string()))?;
        let Some(partition) = signature_partition(table.table(), architecture) else {
            return Ok(None);
        };
        let (first, last, sectors) = (partition.first_lba, partition.last_lba, image.geometry.sectors);
        if first > last || last >= sectors {
            return Err(SignatureUnreadable::Outside { first, last, sectors });
        }
        // Both lie inside of the file, so that their difference in bytes does.
        let bytes = (last - first + 1).saturating_mul(sector_size.bytes().into());
        if bytes > LONGEST {
            return Err(SignatureUnreadable::TooLong(bytes));
        }
        let mut text = vec![0; usize::try_from(bytes).unwrap_or_default()];
        image.read(first, &mut text)?;
        Self::of_partition(&text).map(Some)
    }

    /// That in the contents of the partition: JSON, and then zeros.
    ///
    /// # Errors
    /// [`SignatureUnreadable`].
    pub fn of_partition(contents: &[u8]) -> Result<Self, SignatureUnreadable> {
        let json = |error: &dyn std::fmt::Display| SignatureUnreadable::Json(error.to_string());
        let end = contents
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(contents.len());
        let (text, rest) = contents.split_at(end);
        if rest.iter().any(|byte| *byte != 0) {
            return Err(json(&"there is a zero byte in it"));
        }
        // As systemd does: serde_json looks at no bytes of a member that it doesn't keep.
        let text = std::str::from_utf8(text).map_err(|error| json(&error))?;
        let said: SignatureJson = serde_json::from_str(text).map_err(|error| json(&error))?;
        let root_hash = said.root_hash.to_ascii_lowercase();
        let is_hex = root_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || !root_hash.len().is_multiple_of(2) || !HASH_BYTES.contains(&(root_hash.len() / 2)) {
            return Err(SignatureUnreadable::RootHash(said.root_hash));
        }
        let der = STANDARD.decode(said.signature).map_err(|error| json(&error))?;
        let signature = DetachedSignature::parse(&der)?;
        Ok(Self { root_hash, signature })
    }

    /// Whether it names this certificate as its signer's, and whether it is a signature by the
    /// certificate's key.
    #[must_use]
    pub(super) fn is_by(&self, certificate: &Certificate) -> Option<bool> {
        let is_signer = self.signature.names(certificate);
        is_signer.then(|| self.signature.is_of(self.root_hash.as_bytes(), certificate))
    }
}

/// The partition with the signature: that of this architecture, or else any other's, as systemd takes
/// a root partition of another architecture if there is none of its own.
fn signature_partition(table: &Table, architecture: &str) -> Option<Partition> {
    let found = table.partitions().filter_map(|partition| {
        let mut kinds = SIGNATURE_OF_ROOT.iter();
        let (name, _) = kinds.find(|(_, kind)| partition.kind == guid(*kind))?;
        Some((*name != architecture, partition))
    });
    let first = found.min_by_key(|(is_another, _)| *is_another);
    first.map(|(_, partition)| partition)
}

/// The GUID whose text has these digits.
fn guid(digits: u128) -> Guid {
    let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = digits.to_be_bytes();
    Guid::new(
        u32::from_be_bytes([a0, a1, a2, a3]),
        u16::from_be_bytes([b0, b1]),
        u16::from_be_bytes([c0, c1]),
        rest,
    )
}

/// The size of the sectors by which an image has a partition table; none if it has none.
fn sector_size(file: &File, len: u64) -> io::Result<Option<SectorSize>> {
    for size in [SectorSize::B512, SectorSize::B4096] {
        let mut magic = [0; 8];
        let at = u64::from(size.bytes());
        if len < at + magic.len() as u64 {
            continue;
        }
        file.read_exact_at(&mut magic, at)?;
        if magic == *b"EFI PART" {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// An image's sectors, which are only read.
struct ImageSectors {
    file: File,
    geometry: Geometry,
}

impl Disk for ImageSectors {
    type Error = io::Error;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = lba.checked_mul(self.geometry.sector_size.bytes().into());
        let at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buf, at)
    }

    fn write(&mut self, _lba: u64, _data: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const HASH: &str = "00112233445566778899aabbccddeeff";

    fn refused(contents: &[u8]) -> String {
        ImageSignature::of_partition(contents).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_signature_is_refused_with_its_reason() {
        let json = |hash: &str, signature: &str| {
            format!("{{\"rootHash\":\"{hash}\",\"signature\":\"{signature}\"}}").into_bytes()
        };
        let nested = [vec![b'['; 4096], vec![b']'; 4096]].concat();
        let fields = br#"{"rootHash":"00","rootHash":"01","signature":""}"#;
        for (contents, reason) in [
            (Vec::new(), "the JSON with its signature: EOF"),
            (vec![0; 16384], "the JSON with its signature: EOF"),
            (
                b"\xff\xfe".to_vec(),
                "the JSON with its signature: invalid utf-8 sequence of 1 bytes from index 0",
            ),
            (
                b"{} \0 {}".to_vec(),
                "the JSON with its signature: there is a zero byte in it",
            ),
            (
                br#"{"rootHash":"00","certificateFingerprint":"?","signature":""}"#
                    .map(|byte| match byte {
                        b'?' => 0xff,
                        other => other,
                    })
                    .to_vec(),
                "the JSON with its signature: invalid utf-8 sequence of 1 bytes from index 43",
            ),
            (b"[]".to_vec(), "the JSON with its signature: invalid length 0"),
            (
                b"{}".to_vec(),
                "the JSON with its signature: missing field `rootHash`",
            ),
            (
                fields.to_vec(),
                "the JSON with its signature: duplicate field `rootHash`",
            ),
            (nested, "the JSON with its signature: "),
            (json(HASH, "?"), "the JSON with its signature: Invalid symbol 63"),
            (json("", ""), "its root hash is no hash: \"\""),
            (json(&HASH[1..], ""), "its root hash is no hash: \"0"),
            (json("0123456789abcdef", ""), "its root hash is no hash"),
            (json(&"0".repeat(130), ""), "its root hash is no hash"),
            (json(&"g".repeat(32), ""), "its root hash is no hash: \"ggg"),
            (json(HASH, ""), "its signature: it is no PKCS #7 signature"),
            // Lengths past the end, of nine bytes, without end.
            (
                json(HASH, "MIQ/////"),
                "its signature: it is no PKCS #7 signature",
            ),
            (
                json(HASH, "MIn//////////w=="),
                "its signature: it is no PKCS #7 signature",
            ),
            (
                json(HASH, "MIAAAA=="),
                "its signature: it is no PKCS #7 signature",
            ),
        ] {
            let said = refused(&contents);
            assert!(said.starts_with(reason), "{said:?}, not {reason:?}");
        }
    }

    fn crc32(bytes: &[u8]) -> [u8; 4] {
        let crc = bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
            })
        });
        (!crc).to_le_bytes()
    }

    /// A table of one entry, the signature's, over these sectors of an image of 2,048.
    fn image(first: u64, last: u64) -> Vec<u8> {
        let mut entries = vec![0; 128 * 128];
        let (_, kind) = SIGNATURE_OF_ROOT[0];
        entries[..16].copy_from_slice(&guid(kind).to_bytes());
        entries[16] = 1;
        entries[32..40].copy_from_slice(&first.to_le_bytes());
        entries[40..48].copy_from_slice(&last.to_le_bytes());
        let mut header = vec![0; 512];
        for (at, bytes) in [
            (0, &b"EFI PART"[..]),
            (8, &0x1_0000_u32.to_le_bytes()),
            (12, &92_u32.to_le_bytes()),
            (24, &1_u64.to_le_bytes()),
            (32, &2047_u64.to_le_bytes()),
            (40, &34_u64.to_le_bytes()),
            (48, &2014_u64.to_le_bytes()),
            (72, &2_u64.to_le_bytes()),
            (80, &128_u32.to_le_bytes()),
            (84, &128_u32.to_le_bytes()),
            (88, &crc32(&entries)),
        ] {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let crc = crc32(&header[..92]);
        header[16..20].copy_from_slice(&crc);
        let mut image = [vec![0; 512], header, entries].concat();
        image.resize(2048 * 512, 0);
        image
    }

    fn of(image: &[u8], architecture: &str) -> Result<Option<ImageSignature>, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(image).unwrap();
        ImageSignature::of(file, architecture).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_that_lies_is_refused_before_anything_is_read_by_it() {
        let why = |image: &[u8]| of(image, "x86-64").unwrap_err();
        assert!(why(&image(40, 47)).starts_with("the JSON with its signature: EOF"));
        assert_eq!(
            why(&image(40, 2048)),
            "sectors 40 to 2048 with its signature lie outside of its 2048 sectors"
        );
        assert_eq!(
            why(&image(40, u64::MAX)),
            "sectors 40 to 18446744073709551615 with its signature lie outside of its 2048 sectors"
        );
        assert!(why(&image(41, 40)).starts_with("sectors 41 to 40"));
        assert_eq!(
            why(&image(40, 40 + 512)),
            "262656 bytes with its signature, more than 262144"
        );
        let mut torn = image(40, 47);
        torn[512 + 40] ^= 1;
        assert!(
            why(&torn).starts_with("its partition table: no valid GPT"),
            "{}",
            why(&torn)
        );
        let cut = &image(40, 47)[..40 * 512];
        assert!(why(cut).starts_with("its partition table: no valid GPT"));
        // Another architecture's counts if there is none of this one's.
        assert!(of(&image(40, 47), "arm64").is_err());
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let why = |path: &Path| ImageSignature::of_file(path, "x86-64").unwrap_err().to_string();
        assert_eq!(why(&pipe), "it is no regular file");
        assert_eq!(why(Path::new("/dev/null")), "it is no regular file");
        assert!(why(&directory.path().join("none")).starts_with("reading it: No such file"));
    }

    #[test]
    fn an_image_without_a_signature_has_none() {
        let zeros = vec![0; 1 << 16];
        for image in [&b""[..], b"hsqs", &zeros] {
            assert_eq!(of(image, "x86-64"), Ok(None));
        }
    }
}
