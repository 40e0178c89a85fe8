//! The description of one configuration key, used by parser, reference and status.

use std::fmt;

use super::{OEM_FILES, UPDATE_FILES};

/// One key that the daemon reads.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it stands in the file.
    pub key: &'static str,
    /// Which files may hold it.
    pub place: Place,
    /// Which values it takes.
    pub kind: ValueKind,
    /// What counts where no file holds it.
    pub default: &'static str,
    /// What counts where its value can't be used: the default, unless that would let pass what
    /// somebody meant to stop.
    pub otherwise: &'static str,
    /// What it does, in Markdown.
    pub meaning: &'static str,
}

/// Which files a key is looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// [`UPDATE_FILES`].
    Update,
    /// [`OEM_FILES`].
    Oem,
}

/// Which values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// Any text, which is to be a URL and may hold a password.
    Url,
    /// Any text, which is not to be shown.
    Secret,
    /// A whole number.
    Number {
        /// What it counts.
        unit: &'static str,
        /// The smallest value, 0 aside.
        min: u64,
        /// The largest value.
        max: u64,
        /// What 0 means, if that is not just the least.
        zero: Option<&'static str>,
    },
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Place {
    /// The files, first to last.
    #[must_use]
    pub const fn files(self) -> &'static [&'static str] {
        match self {
            Self::Update => &UPDATE_FILES,
            Self::Oem => &OEM_FILES,
        }
    }
}

impl ValueKind {
    /// Whether the parser takes `value`; of texts it takes every one. An empty value is never a
    /// number or a word.
    #[must_use]
    pub fn takes(&self, value: &str) -> bool {
        match self {
            Self::Text | Self::Url | Self::Secret => true,
            Self::Number { .. } => self.number(value).is_some(),
            Self::Word(words) => words.contains(&value),
        }
    }

    /// `value` as a number of this kind.
    #[must_use]
    pub fn number(&self, value: &str) -> Option<u64> {
        let Self::Number { min, max, zero, .. } = self else {
            return None;
        };
        let number = value.parse().ok()?;
        let fits = (*min..=*max).contains(&number) || (number == 0 && zero.is_some());
        fits.then_some(number)
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text | Self::Url | Self::Secret => f.write_str("text"),
            Self::Number { unit, min, max, zero } => {
                write!(f, "{unit}, {min} to {max}")?;
                zero.map_or(Ok(()), |meaning| write!(f, "; 0: {meaning}"))
            }
            Self::Word(words) => write!(f, "`{}`", words.join("`, `")),
        }
    }
}
