//! The choice of an offer's packages that are installed beside its payload.
//!
//! Where nothing is configured, none: the image's postinst sees to them then, or nobody. Where something is, what is
//! configured by name has to be there, and so does a place for what the server calls required.

use thiserror::Error;

use crate::config::{ExtensionPattern, ExtensionSettings};
use crate::omaha::{ErrorCode, Extra, ExtraError, Need, Offer};
use crate::plan::{Extension, ExtensionPlan};

/// Most of one offer.
const MAX_EXTENSIONS: usize = 64;

/// Bytes of a version at most: it becomes a directory's name.
const LONGEST_VERSION: usize = 128;

/// What names of payloads end in. No compression is meant by it.
const SUFFIX: &str = ".gz";

/// Why an offer can't be taken because of what comes, or doesn't come, with it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExtensionsError {
    /// The directory is nowhere.
    #[error("EXTENSIONS_DIRECTORY={0:?} is no absolute path")]
    Directory(String),
    /// No directory can be called so.
    #[error(
        "the offer's version {0:?} is not of at most {LONGEST_VERSION} letters, digits, `.`, `_`, `+` and `-`: its extensions' directory is called so"
    )]
    Version(String),
    /// Configuration wants what the server doesn't have.
    #[error("EXTENSIONS names {0:?}, and the offer has no such package")]
    NotOffered(String),
    /// The server wants what configuration doesn't name.
    #[error("the offer requires package {0:?}, and EXTENSIONS doesn't name it")]
    NotNamed(String),
    /// One can't be asked for.
    #[error("the offer's package {name:?} can't be used")]
    Package {
        /// Which.
        name: String,
        /// Why not.
        source: ExtraError,
    },
    /// Two would be the same file.
    #[error("the offer has extension {0:?} twice")]
    Twice(String),
    /// Too many.
    #[error("the offer has {0} extensions that EXTENSIONS names, more than {MAX_EXTENSIONS}")]
    TooMany(usize),
}

impl ExtensionsError {
    /// The code to report.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Directory(_) => ErrorCode::Error,
            _ => ErrorCode::ResponseInvalid,
        }
    }
}

/// What of `offer`, whose payload comes from the first of `urls` and otherwise from the next, is put in place beside the slot; nothing if nothing is configured.
/// Packages come from the same places as the payload.
///
/// # Errors
/// [`ExtensionsError`].
pub fn extensions(
    offer: &Offer,
    urls: &[String],
    settings: &ExtensionSettings,
    running_version: &str,
) -> Result<Option<ExtensionPlan>, ExtensionsError> {
    if settings.wanted.is_empty() {
        return Ok(None);
    }
    if !settings.directory.starts_with('/') {
        return Err(ExtensionsError::Directory(settings.directory.clone()));
    }
    if !is_directory_name(&offer.version) {
        return Err(ExtensionsError::Version(offer.version.clone()));
    }
    // Invariant: every URL of an offer ends in its package's name.
    let bases: Vec<_> = urls
        .iter()
        .map(|url| url.strip_suffix(offer.package.as_str()).unwrap_or(url))
        .collect();
    let packages = chosen(&offer.extras, &bases, &settings.wanted)?;
    Ok(Some(ExtensionPlan {
        directory: settings.directory.clone(),
        version: offer.version.clone(),
        running_version: running_version.to_owned(),
        packages,
    }))
}

fn chosen(
    extras: &[Extra],
    bases: &[&str],
    wanted: &[ExtensionPattern],
) -> Result<Vec<Extension>, ExtensionsError> {
    let mut packages: Vec<Extension> = Vec::new();
    for extra in extras {
        let name = stem(&extra.name);
        if !wanted.iter().any(|pattern| pattern.matches(name)) {
            match extra.need {
                Need::Required => return Err(ExtensionsError::NotNamed(extra.name.clone())),
                Need::Optional => continue,
            }
        }
        if packages.iter().any(|package| package.name == name) {
            return Err(ExtensionsError::Twice(name.to_owned()));
        }
        packages.push(extension(extra, bases)?);
    }
    if packages.len() > MAX_EXTENSIONS {
        return Err(ExtensionsError::TooMany(packages.len()));
    }
    let is_there = |name: &&str| packages.iter().any(|package| package.name == *name);
    match wanted
        .iter()
        .filter_map(ExtensionPattern::one)
        .find(|name| !is_there(name))
    {
        Some(missing) => Err(ExtensionsError::NotOffered(missing.to_owned())),
        None => Ok(packages),
    }
}

fn extension(extra: &Extra, bases: &[&str]) -> Result<Extension, ExtensionsError> {
    let file = extra.file.clone().map_err(|source| ExtensionsError::Package {
        name: extra.name.clone(),
        source,
    })?;
    let mut urls = bases.iter().map(|base| format!("{base}{}", extra.name));
    Ok(Extension {
        name: stem(&extra.name).to_owned(),
        // Invariant: an offer has at least one URL.
        url: urls.next().unwrap_or_default(),
        fallback_urls: urls.collect(),
        size: file.size,
        sha256: file.sha256,
    })
}

fn stem(package: &str) -> &str {
    package
        .strip_suffix(SUFFIX)
        .filter(|stem| !stem.is_empty())
        .unwrap_or(package)
}

/// Whether a directory can be called so: nowhere else, and not hidden.
fn is_directory_name(version: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    version.len() <= LONGEST_VERSION
        && version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(fits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::omaha::{Backoff, ExtraFile, PayloadKind};

    fn extra(name: &str, need: Need) -> Extra {
        let file = ExtraFile {
            size: 5,
            sha256: [1; 32],
        };
        Extra {
            name: name.to_owned(),
            need,
            file: Ok(file),
        }
    }

    fn offer(extras: Vec<Extra>) -> Offer {
        Offer {
            version: "2.0.0".to_owned(),
            package: "update.gz".to_owned(),
            urls: ["http://x/p/update.gz", "http://y/update.gz"]
                .map(str::to_owned)
                .to_vec(),
            size: 1,
            sha256: [0; 32],
            kind: PayloadKind::Full,
            backoff: Backoff::Enabled,
            max_failures_per_url: 10,
            metadata: None,
            extras,
        }
    }

    fn plan(offer: &Offer, wanted: &str) -> Result<Option<ExtensionPlan>, ExtensionsError> {
        let settings = ExtensionSettings {
            wanted: wanted.split_whitespace().map(ExtensionPattern::new).collect(),
            directory: "/x".to_owned(),
        };
        extensions(offer, &offer.urls, &settings, "1.0.0")
    }

    #[test]
    fn what_is_named_is_taken_and_nothing_else() {
        let extras = ["oem-azure.gz", "flatcar-zfs.gz", "other"].map(|name| extra(name, Need::Optional));
        let offer = offer(extras.to_vec());
        assert_eq!(plan(&offer, ""), Ok(None));
        let packages = plan(&offer, "other flatcar-*").unwrap().unwrap().packages;
        assert_eq!(packages[0].fallback_urls, ["http://y/flatcar-zfs.gz"]);
        let found: Vec<_> = packages
            .iter()
            .map(|p| (p.name.as_str(), p.url.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("flatcar-zfs", "http://x/p/flatcar-zfs.gz"),
                ("other", "http://x/p/other")
            ]
        );
    }

    #[test]
    fn what_is_named_alone_must_be_offered_and_what_is_required_must_be_named() {
        let (offered, required) = (
            offer(vec![extra("a.gz", Need::Optional)]),
            offer(vec![extra("b.gz", Need::Required)]),
        );
        let missing = |name: &str| Err(ExtensionsError::NotOffered(name.to_owned()));
        assert_eq!(plan(&offered, "a b"), missing("b"));
        assert_eq!(plan(&offered, "b*").unwrap().unwrap().packages, []);
        assert_eq!(
            plan(&required, "a*"),
            Err(ExtensionsError::NotNamed("b.gz".to_owned()))
        );
        assert_eq!(plan(&required, ""), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_only_where_it_is_wanted() {
        let mut broken = extra("a.gz", Need::Optional);
        broken.file = Err(ExtraError::Size(String::new()));
        let offered = offer(vec![broken]);
        assert!(matches!(
            plan(&offered, "*"),
            Err(ExtensionsError::Package { .. })
        ));
        assert!(plan(&offered, "b*").is_ok());
        let twice = offer(["a", "a.gz"].map(|name| extra(name, Need::Optional)).to_vec());
        assert_eq!(plan(&twice, "a"), Err(ExtensionsError::Twice("a".to_owned())));
    }

    #[test]
    fn a_version_that_makes_no_directory_is_refused() {
        for version in ["", "..", "a/b", ".staged", "a b"] {
            let mut offer = offer(Vec::new());
            version.clone_into(&mut offer.version);
            assert_eq!(
                plan(&offer, "*"),
                Err(ExtensionsError::Version(version.to_owned()))
            );
        }
    }
}
