//! The choice of an offer's packages that are installed beside its payload.
//!
//! If nothing is configured, none are chosen: installing them is left to the image's postinst. If
//! something is, the offer must have each package that is configured by name, and each package that
//! the server calls required must have a place.

use thiserror::Error;

use crate::config::{ExtensionPattern, ExtensionSettings};
use crate::omaha::{Need, Offer, OfferedPackage, PackageError, before_hosting, is_file_name, last_parts};
use crate::plan::{Extension, ExtensionPlan};

/// Most extensions of one offer.
const MAX_EXTENSIONS: usize = 64;

/// Longest version in bytes: it becomes a directory's name.
const LONGEST_VERSION: usize = 128;

/// The suffix of payloads' names. It says nothing about compression.
const SUFFIX: &str = ".gz";

/// The errors of an offer's packages, for which it can't be taken.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExtensionsError {
    /// The configured directory is no absolute path.
    #[error("EXTENSIONS_DIRECTORY={0:?} is no absolute path")]
    Directory(String),
    /// The version can't be a directory's name.
    #[error(
        "the offer's version {0:?} is not of at most {LONGEST_VERSION} letters, digits, `.`, `_`, `+` and `-`: its extensions' directory is called so"
    )]
    Version(String),
    /// A configured extension is not offered.
    #[error("EXTENSIONS names {0:?}, and the offer has no such package")]
    NotOffered(String),
    /// A package that the server requires is not configured.
    #[error("the offer requires package {0:?}, and EXTENSIONS doesn't name it")]
    NotNamed(String),
    /// A package's name, size or hash can't be used.
    #[error("the offer's package {name:?} can't be used")]
    Package {
        /// The package's name.
        name: String,
        /// The package's fault.
        source: PackageError,
    },
    /// Two packages would become the same file.
    #[error("the offer has two packages for extension {extension:?}: {:?} and {:?}", packages[0], packages[1])]
    Twice {
        /// The file's name, without its suffix.
        extension: String,
        /// The packages' names, as in the offer.
        packages: [String; 2],
    },
    /// The offer has too many extensions.
    #[error("the offer has {0} extensions that EXTENSIONS names, more than {MAX_EXTENSIONS}")]
    TooMany(usize),
}

/// The packages of `offer` that are put in place beside the slot; none if none are configured. They
/// are fetched from where the payload is: the first of `urls`, or the next one if that fails.
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
    let packages = chosen(offer, &bases, &settings.wanted)?;
    Ok(Some(ExtensionPlan {
        directory: settings.directory.clone(),
        version: offer.version.clone(),
        running_version: running_version.to_owned(),
        packages,
    }))
}

fn chosen(
    offer: &Offer,
    bases: &[&str],
    wanted: &[ExtensionPattern],
) -> Result<Vec<Extension>, ExtensionsError> {
    let mut choice = Choice::of(offer);
    // Whole names before ends of names, so that what is called by its own name is never taken for
    // something else.
    for wanted in wanted {
        choice.take(wanted, |name, wanted| wanted.matches(name).then_some(name))?;
    }
    for wanted in wanted {
        choice.take(wanted, |name, wanted| {
            last_parts(name).find(|part| wanted.matches(part))
        })?;
    }
    choice.finish(bases, wanted)
}

/// The assignment of packages to extensions.
struct Choice<'a> {
    extras: Vec<&'a OfferedPackage>,
    /// Each package's name, without the prefix that its server has added.
    names: Vec<&'a str>,
    /// The extension that each becomes.
    taken: Vec<Option<&'a str>>,
}

impl<'a> Choice<'a> {
    fn of(offer: &'a Offer) -> Self {
        let name = |extra: &&'a OfferedPackage| before_hosting(stem(&extra.name), &offer.version);
        let extras: Vec<_> = offer.extras.iter().filter(|extra| !extra.is_content()).collect();
        Self {
            names: extras.iter().map(name).collect(),
            taken: vec![None; extras.len()],
            extras,
        }
    }

    /// Takes those for `wanted` that are left, by the name that `part` finds in a package's; none
    /// whose extension is there.
    fn take(
        &mut self,
        wanted: &ExtensionPattern,
        part: impl Fn(&'a str, &ExtensionPattern) -> Option<&'a str>,
    ) -> Result<(), ExtensionsError> {
        let there = self.taken.clone();
        for (at, name) in self.names.iter().enumerate() {
            let extension = part(name, wanted).filter(|extension| !there.contains(&Some(*extension)));
            let (Some(extension), None) = (extension, self.taken[at]) else {
                continue;
            };
            if let Some(other) = self.taken.iter().position(|taken| *taken == Some(extension)) {
                let packages = [other, at].map(|at| self.extras[at].name.clone());
                return Err(ExtensionsError::Twice {
                    extension: extension.to_owned(),
                    packages,
                });
            }
            self.taken[at] = Some(extension);
        }
        Ok(())
    }

    fn finish(self, bases: &[&str], wanted: &[ExtensionPattern]) -> Result<Vec<Extension>, ExtensionsError> {
        let pairs = || self.extras.iter().zip(&self.taken);
        let mut left = pairs().filter(|(_, taken)| taken.is_none());
        if let Some((extra, _)) = left.find(|(extra, _)| extra.need == Need::Required) {
            return Err(ExtensionsError::NotNamed(extra.name.clone()));
        }
        let mut names = wanted.iter().filter_map(ExtensionPattern::one);
        if let Some(missing) = names.find(|name| !self.taken.contains(&Some(*name))) {
            return Err(ExtensionsError::NotOffered(missing.to_owned()));
        }
        let packages = pairs().filter_map(|(extra, taken)| taken.map(|name| extension(extra, name, bases)));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        if packages.len() > MAX_EXTENSIONS {
            return Err(ExtensionsError::TooMany(packages.len()));
        }
        Ok(packages)
    }
}

fn extension(extra: &OfferedPackage, name: &str, bases: &[&str]) -> Result<Extension, ExtensionsError> {
    let refused = |source| ExtensionsError::Package {
        name: extra.name.clone(),
        source,
    };
    let (size, sha256) = extra.file().map_err(refused)?;
    if !is_file_name(name) {
        return Err(refused(PackageError::Name));
    }
    let mut urls = bases.iter().map(|base| format!("{base}{}", extra.name));
    Ok(Extension {
        name: name.to_owned(),
        // Invariant: an offer has at least one URL.
        url: urls.next().unwrap_or_default(),
        fallback_urls: urls.collect(),
        size,
        sha256,
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
    use crate::omaha::{Backoff, PayloadKind};

    fn extra(name: &str, need: Need) -> OfferedPackage {
        OfferedPackage {
            name: name.to_owned(),
            need,
            size: Ok(5),
            sha256: Ok([1; 32].into()),
        }
    }

    fn offer(extras: Vec<OfferedPackage>) -> Offer {
        Offer {
            version: "2.0.0".to_owned(),
            package: "update.gz".to_owned(),
            urls: ["http://x/p/update.gz", "http://y/update.gz"]
                .map(str::to_owned)
                .to_vec(),
            size: 1,
            sha256: [0; 32].into(),
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
            judged: crate::plan::ExtensionJudging::Warn,
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
        broken.size = Err(PackageError::Size(String::new()));
        let offered = offer(vec![broken]);
        assert!(matches!(
            plan(&offered, "*"),
            Err(ExtensionsError::Package { .. })
        ));
        assert!(plan(&offered, "b*").is_ok());
        let twice = offer(["a", "a.gz"].map(|name| extra(name, Need::Optional)).to_vec());
        let refused = plan(&twice, "a").unwrap_err().to_string();
        assert_eq!(
            refused,
            "the offer has two packages for extension \"a\": \"a\" and \"a.gz\""
        );
    }

    /// Names and URL of what is chosen of these packages, for version 2.0.0.
    fn chosen(packages: &[&str], wanted: &str) -> Result<Vec<(String, String)>, ExtensionsError> {
        let extras = packages.iter().map(|name| extra(name, Need::Optional));
        let plan = plan(&offer(extras.collect()), wanted)?.unwrap();
        let pair = |package: Extension| (package.name, package.url.replace("http://x/p/", ""));
        Ok(plan.packages.into_iter().map(pair).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pair = |(name, url): &(&str, &str)| ((*name).to_owned(), (*url).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn packages_are_found_whatever_the_server_that_hosts_them_calls_them() {
        let hosted = "extrafile-amd64-2.0.0-oem-azure.gz";
        for wanted in ["oem-azure", "oem-*", "*"] {
            assert_eq!(
                chosen(&[hosted], wanted),
                Ok(pairs(&[("oem-azure", hosted)])),
                "{wanted}"
            );
        }
        for hosted in ["mirror_oem-azure.gz", "2/oem-azure.gz", "a+b-oem-azure.gz"] {
            for wanted in ["oem-azure", "oem-*"] {
                assert_eq!(
                    chosen(&[hosted], wanted),
                    Ok(pairs(&[("oem-azure", hosted)])),
                    "{wanted}"
                );
            }
        }
        let missing = Err(ExtensionsError::NotOffered("oem-azure".to_owned()));
        assert_eq!(
            chosen(&["theoem-azure.gz", "oem-azure-2.gz"], "oem-azure"),
            missing
        );
    }

    #[test]
    fn whole_names_come_before_ends_and_of_two_ends_none_is_chosen() {
        let both = ["old-oem-a.gz", "oem-a.gz"];
        assert_eq!(chosen(&both, "oem-a"), Ok(pairs(&[("oem-a", "oem-a.gz")])));
        assert_eq!(
            chosen(&both, "oem-a old-*"),
            Ok(pairs(&[("old-oem-a", "old-oem-a.gz"), ("oem-a", "oem-a.gz")]))
        );
        let refused = chosen(&["x-oem-a.gz", "y-oem-a.gz"], "oem-a").unwrap_err();
        assert!(matches!(refused, ExtensionsError::Twice { .. }), "{refused}");
        // One that has a name of its own isn't taken for another.
        let missing = Err(ExtensionsError::NotOffered("zfs".to_owned()));
        assert_eq!(chosen(&["flatcar-zfs.gz"], "zfs flatcar-*"), missing);
    }

    #[test]
    fn a_package_becomes_no_file_elsewhere() {
        for (package, wanted) in [("a b.gz", "a*"), ("dir/x.gz", "*"), ("dir/..x.gz", "dir/..x")] {
            let refused = chosen(&[package], wanted).unwrap_err();
            let is_name = matches!(
                &refused,
                ExtensionsError::Package {
                    source: PackageError::Name,
                    ..
                }
            );
            assert!(is_name, "{package}: {refused}");
        }
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
