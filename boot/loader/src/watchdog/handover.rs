//! Handover file: the image builder's word that a kernel takes over a watchdog that runs already.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use super::tco::TcoTimeout;

/// A kernel's handover file, which lies beside it. Nothing vouches for the file but that it names
/// this very kernel: an update replaces the kernel, and the file of the one before stays behind.
///
/// ```text
/// KERNEL=<SHA-256 of the kernel's file, 64 lower-case hexadecimal digits>
/// ITCO_TIMEOUT=<seconds until the TCO timer resets, 30 to 1200>
/// OPEN_TIMEOUT=<seconds that the kernel feeds it for, 30 to 3600>
/// FED_BY=systemd
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// Digest of the kernel.
    pub kernel: Sha256Digest,
    /// How long the kernel has until its driver must have taken the timer over.
    pub timeout: TcoTimeout,
    /// How long the driver feeds the timer until somebody must have opened it.
    pub open_timeout: OpenTimeout,
}

/// SHA-256 digest of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha256Digest(pub [u8; 32]);

/// Seconds for which Linux feeds a watchdog that nobody has opened: `watchdog.open_timeout=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenTimeout(u32);

/// Error of a handover file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// It has more bytes than any such file needs.
    #[error("longer than {} bytes", Handover::LIMIT)]
    TooLong,
    /// A byte that isn't printable ASCII, a tab or the end of a line.
    #[error("byte {value:#04x} at offset {offset} is no ASCII text")]
    NotText {
        /// Offset from the start of the file.
        offset: usize,
        /// The byte that isn't printable ASCII.
        value: u8,
    },
    /// A line that sets nothing, or what is not known here.
    #[error("line {number} sets nothing that is known: {line:?}")]
    Unknown {
        /// Number of the line, from 1.
        number: usize,
        /// The line, as it stands in the file.
        line: String,
    },
    /// A line that sets what an earlier one has set.
    #[error("line {number} sets {key} again")]
    Again {
        /// Number of the line, from 1.
        number: usize,
        /// What it sets.
        key: &'static str,
    },
    /// A value that is none of those that its key takes.
    #[error("{key} is {value:?}, not {wanted}")]
    Value {
        /// The key before the equals sign.
        key: &'static str,
        /// Its value.
        value: String,
        /// Values that it takes, in words.
        wanted: &'static str,
    },
    /// No line sets this.
    #[error("nothing sets {0}")]
    Missing(&'static str),
}

const KERNEL: &str = "KERNEL";
const ITCO_TIMEOUT: &str = "ITCO_TIMEOUT";
const OPEN_TIMEOUT: &str = "OPEN_TIMEOUT";
const FED_BY: &str = "FED_BY";
const KEYS: [&str; 4] = [KERNEL, ITCO_TIMEOUT, OPEN_TIMEOUT, FED_BY];

impl Handover {
    /// Longest file in bytes.
    pub const LIMIT: usize = 1024;

    /// Path of the file for the kernel at `kernel`.
    #[must_use]
    pub fn path(kernel: &str) -> String {
        format!("{kernel}.watchdog")
    }

    /// Reads the file. Lines that start with `#` are left out.
    ///
    /// # Errors
    /// If it is no ASCII text or too long, or doesn't set each of its keys once to a value that the
    /// key takes. A key that is not known may be a condition: then nothing is armed.
    pub fn parse(bytes: &[u8]) -> Result<Self, HandoverError> {
        if bytes.len() > Self::LIMIT {
            return Err(HandoverError::TooLong);
        }
        let is_text = |byte: u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
        if let Some(offset) = bytes.iter().position(|&byte| !is_text(byte)) {
            let value = bytes[offset];
            return Err(HandoverError::NotText { offset, value });
        }
        // ASCII, as was just seen: nothing is lost.
        let text = String::from_utf8_lossy(bytes);
        let mut values = [None; KEYS.len()];
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let unknown = || HandoverError::Unknown {
                number,
                line: line.to_string(),
            };
            let (key, value) = line.split_once('=').ok_or_else(unknown)?;
            let index = KEYS.iter().position(|known| *known == key).ok_or_else(unknown)?;
            if values[index].replace(value).is_some() {
                let key = KEYS[index];
                return Err(HandoverError::Again { number, key });
            }
        }
        let [kernel, timeout, open_timeout, fed_by] = values;
        let handover = Self {
            kernel: checked(KERNEL, kernel, Sha256Digest::WANTED, Sha256Digest::parse)?,
            timeout: checked(ITCO_TIMEOUT, timeout, TcoTimeout::WANTED, |value| {
                TcoTimeout::from_seconds(seconds(value)?)
            })?,
            open_timeout: checked(OPEN_TIMEOUT, open_timeout, OpenTimeout::WANTED, |value| {
                OpenTimeout::from_seconds(seconds(value)?)
            })?,
        };
        // Nobody else opens the device in every boot, and feeds it for ever.
        let is_systemd = |value: &str| (value == "systemd").then_some(());
        checked(FED_BY, fed_by, "systemd", is_systemd)?;
        Ok(handover)
    }
}

fn checked<T>(
    key: &'static str,
    value: Option<&str>,
    wanted: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, HandoverError> {
    let value = value.ok_or(HandoverError::Missing(key))?;
    parse(value).ok_or_else(|| HandoverError::Value {
        key,
        value: value.to_string(),
        wanted,
    })
}

/// A number of up to nine digits and nothing else.
fn seconds(value: &str) -> Option<u32> {
    let is_number = !value.is_empty() && value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| value.parse().ok()).flatten()
}

impl Sha256Digest {
    const WANTED: &str = "64 lower-case hexadecimal digits";

    fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(digest))
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

impl OpenTimeout {
    const WANTED: &str = "a number of seconds from 30 to 3600";

    /// `seconds`, if they are in 30 to 3600.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        (30..=3600).contains(&seconds).then_some(Self(seconds))
    }

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// The word for the kernel's command line.
    #[must_use]
    pub fn word(self) -> String {
        format!("watchdog.open_timeout={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff0a9b";

    fn text(lines: &[&str]) -> Vec<u8> {
        lines.join("\n").into_bytes()
    }

    fn whole() -> Vec<String> {
        vec![
            format!("KERNEL={DIGEST}"),
            "ITCO_TIMEOUT=180".into(),
            "OPEN_TIMEOUT=240".into(),
            "FED_BY=systemd".into(),
        ]
    }

    fn with(index: usize, line: &str) -> Vec<u8> {
        let mut lines = whole();
        lines[index] = line.into();
        lines.join("\n").into_bytes()
    }

    #[test]
    fn a_whole_file_in_any_order_with_remarks_and_any_line_ends() {
        let plain = Handover::parse(whole().join("\n").as_bytes()).unwrap();
        assert_eq!(plain.kernel.to_string(), DIGEST);
        assert_eq!(plain.timeout, TcoTimeout::from_seconds(180).unwrap());
        assert_eq!(plain.open_timeout.word(), "watchdog.open_timeout=240");
        let mut lines = whole();
        lines.reverse();
        let other = format!("# by the image's postinst\r\n\r\n{}\r\n", lines.join("\r\n"));
        assert_eq!(Handover::parse(other.as_bytes()), Ok(plain));
    }

    #[test]
    fn what_is_missing_repeated_or_unknown_is_named() {
        for (index, key) in KEYS.into_iter().enumerate() {
            let mut lines = whole();
            let line = lines.remove(index);
            let without = lines.join("\n");
            assert_eq!(
                Handover::parse(without.as_bytes()),
                Err(HandoverError::Missing(key))
            );
            lines.extend([line.clone(), line]);
            let twice = lines.join("\n");
            assert_eq!(
                Handover::parse(twice.as_bytes()),
                Err(HandoverError::Again { number: 5, key })
            );
        }
        for line in [
            "I6300ESB_TIMEOUT=60",
            "KERNEL",
            "kernel=1",
            "KERNEL =1",
            "=1",
            "\u{7f}",
        ] {
            let parsed = Handover::parse(&text(&[line]));
            assert!(
                matches!(
                    parsed,
                    Err(HandoverError::Unknown { number: 1, .. } | HandoverError::NotText { .. })
                ),
                "{line}: {parsed:?}"
            );
        }
        assert_eq!(Handover::parse(b""), Err(HandoverError::Missing(KERNEL)));
    }

    #[test]
    fn values_outside_their_range_are_named() {
        let upper = DIGEST.to_uppercase();
        let cases = [
            (0, format!("KERNEL={upper}")),
            (0, format!("KERNEL={DIGEST}0")),
            (0, format!("KERNEL={}", &DIGEST[1..])),
            (0, "KERNEL=".into()),
            (1, "ITCO_TIMEOUT=29".into()),
            (1, "ITCO_TIMEOUT=1201".into()),
            (1, "ITCO_TIMEOUT=4294967476".into()),
            (1, "ITCO_TIMEOUT=99999999999999999999".into()),
            (1, "ITCO_TIMEOUT=-180".into()),
            (1, "ITCO_TIMEOUT=+180".into()),
            (1, "ITCO_TIMEOUT= 180".into()),
            (2, "OPEN_TIMEOUT=0".into()),
            (2, "OPEN_TIMEOUT=3601".into()),
            (2, "OPEN_TIMEOUT=1e3".into()),
            (3, "FED_BY=update-engine-trial-deadline".into()),
            (3, "FED_BY=".into()),
        ];
        for (index, line) in cases {
            let (key, value) = line.split_once('=').unwrap();
            match Handover::parse(&with(index, &line)) {
                Err(HandoverError::Value {
                    key: named,
                    value: said,
                    ..
                }) => assert_eq!((named, said.as_str()), (key, value.trim_end())),
                other => panic!("{line}: {other:?}"),
            }
        }
        for line in ["ITCO_TIMEOUT=30", "ITCO_TIMEOUT=1200"] {
            assert!(Handover::parse(&with(1, line)).is_ok(), "{line}");
        }
        for line in ["OPEN_TIMEOUT=30", "OPEN_TIMEOUT=3600"] {
            assert!(Handover::parse(&with(2, line)).is_ok(), "{line}");
        }
    }

    #[test]
    fn no_bytes_but_text_and_no_more_than_the_limit() {
        let mut bytes = whole().join("\n").into_bytes();
        bytes.push(b'\n');
        bytes.resize(Handover::LIMIT, b'#');
        assert!(Handover::parse(&bytes).is_ok());
        bytes.push(b'#');
        assert_eq!(Handover::parse(&bytes), Err(HandoverError::TooLong));
        for value in [0, 0x1b, 0x7f, 0xff] {
            assert_eq!(
                Handover::parse(&[b'#', value]),
                Err(HandoverError::NotText { offset: 1, value })
            );
        }
    }
}
