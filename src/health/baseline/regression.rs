//! Regressions: what is worse than before an update.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::tolerant;

/// The kind of thing that a regression is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegressionSubject {
    /// A system extension.
    Extension,
    /// A configuration extension.
    Confext,
    /// A unit; also of a kind that only a later version knows.
    #[default]
    Unit,
    /// The default route.
    Route,
}

impl RegressionSubject {
    /// Its word, as records and the bus have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Extension => "extension",
            Self::Confext => "confext",
            Self::Unit => "unit",
            Self::Route => "route",
        }
    }
}

/// One thing that is worse than before, or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// What kind of thing it is.
    #[serde(default, deserialize_with = "tolerant::or_default")]
    pub subject: RegressionSubject,
    /// Its name: of an extension, or of a unit with its suffix.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub name: String,
    /// What it was, such as `active` or `merged`.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub before: String,
    /// What it is now, with whatever explains it.
    #[serde(default, deserialize_with = "tolerant::text")]
    pub now: String,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            name,
            before,
            now,
        } = self;
        match subject {
            RegressionSubject::Extension => write!(f, "extension {name} is {now}")?,
            RegressionSubject::Confext => write!(f, "confext {name} is {now}")?,
            RegressionSubject::Unit => write!(f, "unit {name} {now}")?,
            RegressionSubject::Route => write!(f, "the {name} is {now}")?,
        }
        write!(f, " (before: {before})")
    }
}

/// What is worse than before, by how sure that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Regressions {
    /// The image's doing, and the same at every boot.
    pub certain: Vec<Regression>,
    /// Perhaps meant, or not the image's doing.
    pub perhaps: Vec<Regression>,
}

impl Regressions {
    /// Whether everything is as before.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certain.is_empty() && self.perhaps.is_empty()
    }

    /// What is worse by both looks; what only one of them found certain is so perhaps.
    #[must_use]
    pub fn confirmed_by(&self, again: Self) -> Self {
        let was_certain = |found: &Regression| {
            let mut certain = self.certain.iter();
            certain.any(|other| other.subject == found.subject && other.name == found.name)
        };
        let (certain, unsure) = again.certain.into_iter().partition(was_certain);
        let mut perhaps: Vec<Regression> = unsure;
        perhaps.extend(again.perhaps);
        Self { certain, perhaps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regression(name: &str) -> Regression {
        Regression {
            subject: RegressionSubject::Extension,
            name: name.to_owned(),
            before: "merged".to_owned(),
            now: "not merged".to_owned(),
        }
    }

    #[test]
    fn certain_is_what_two_looks_show() {
        let look = |certain: &[&str]| Regressions {
            certain: certain.iter().map(|name| regression(name)).collect(),
            perhaps: Vec::new(),
        };
        let both = look(&["docker", "only-first"]).confirmed_by(look(&["docker", "only-again"]));
        assert_eq!(both.certain, [regression("docker")]);
        assert_eq!(both.perhaps, [regression("only-again")]);
        assert!(look(&["docker"]).confirmed_by(look(&[])).is_empty());
    }
}
