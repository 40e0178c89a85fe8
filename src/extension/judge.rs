//! The judgement whether systemd merges an extension under an image, by systemd's own rules. Pure.
//!
//! ```text
//!   is there a release file? ─▶ scope ─▶ architecture ─▶ ID: "_any" ──────────────────────▶ merges
//!                                                         └ the image's ID (since 257: or ID_LIKE)
//!                                                            ├ the image has neither VERSION_ID nor level ─▶ merges
//!                                                            ├ both have a level ───▶ the same?
//!                                                            └ else ────────────────▶ the same VERSION_ID?
//! ```
//!
//! An empty value counts as a missing one, but for the scope: an empty one is a list of nothing.
//! Levels and scopes are `SYSEXT_…` for system extensions and `CONFEXT_…` for configuration
//! extensions.
//!
//! Sources: `os-release(5)`, `systemd-sysext(8)`; held to systemd 252 and 257 by
//! `tests/fixtures/extensions`: pairs of an extension and an image, each with what the mount table
//! showed.

use std::fmt;

use super::ExtensionClass;
use crate::image::OsRelease;

/// The first systemd that knows configuration extensions.
const FIRST_WITH_CONFEXTS: u32 = 254;
/// The first systemd that chooses an extension from a `.v` directory of versions.
const FIRST_WITH_VERSIONS: u32 = 256;
/// The first systemd that takes an extension for a distribution that the image is like.
const FIRST_WITH_ID_LIKE: u32 = 257;
/// Scopes of an extension that names none.
const ANY_SCOPE: &str = "system portable";
/// Where a running system merges extensions; the initrd is another scope.
const SCOPE: &str = "system";

/// What an image is, to its extensions.
#[derive(Debug, Clone, Copy)]
pub struct ExtensionHost<'a> {
    /// Its `os-release`.
    pub os_release: &'a OsRelease,
    /// Version of its systemd; without, a current one.
    pub systemd: Option<u32>,
    /// Architecture of the machine in systemd's words, such as `x86-64`.
    pub architecture: &'a str,
}

/// Why systemd doesn't merge an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMerged {
    /// The image's systemd doesn't know such extensions.
    Unsupported {
        /// Version of the image's systemd.
        systemd: u32,
    },
    /// The image doesn't say which distribution it is: nothing is merged.
    ImageWithoutId,
    /// The extension says nothing of itself, or systemd can't read it.
    NoRelease,
    /// The extension is for other places only.
    Scope {
        /// `SYSEXT_SCOPE` or `CONFEXT_SCOPE`.
        key: &'static str,
        /// Its value.
        scope: String,
    },
    /// A setting differs between the extension and the image.
    Differs {
        /// `ARCHITECTURE`, `ID`, `SYSEXT_LEVEL` …
        key: &'static str,
        /// The extension's; none if it has none.
        extension: Option<String>,
        /// The image's.
        image: String,
    },
}

impl fmt::Display for NotMerged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { systemd } => write!(f, "systemd {systemd} of the image doesn't know it"),
            Self::ImageWithoutId => f.write_str("the image's os-release has no ID"),
            Self::NoRelease => f.write_str("it has no extension-release file that systemd reads"),
            Self::Scope { key, scope } => write!(f, "it has {key}={scope:?}, without {SCOPE:?}"),
            Self::Differs {
                key,
                extension: Some(extension),
                image,
            } => write!(f, "it is for {key}={extension}, the image has {image}"),
            Self::Differs {
                key,
                extension: None,
                image,
            } => write!(f, "it has no {key}, the image has {image}"),
        }
    }
}

/// Whether systemd in the image `host` merges an extension of a class, versioned if systemd chooses
/// it from a `.v` directory, that says `release` of itself; none if there is no file of its name in
/// it, or systemd refuses the file.
///
/// # Errors
/// [`NotMerged`]: the first of systemd's checks that fails.
pub fn judge(
    (class, is_versioned): (ExtensionClass, bool),
    release: Option<&OsRelease>,
    host: ExtensionHost<'_>,
) -> Result<(), NotMerged> {
    let first = match class {
        _ if is_versioned => FIRST_WITH_VERSIONS,
        ExtensionClass::Configuration => FIRST_WITH_CONFEXTS,
        ExtensionClass::System => 0,
    };
    if let Some(systemd) = host.systemd.filter(|systemd| *systemd < first) {
        return Err(NotMerged::Unsupported { systemd });
    }
    let Some(own_id) = host.os_release.get("ID") else {
        return Err(NotMerged::ImageWithoutId);
    };
    let Some(release) = release.filter(|release| !release.is_empty()) else {
        return Err(NotMerged::NoRelease);
    };
    let [scope_key, level_key] = match class {
        ExtensionClass::System => ["SYSEXT_SCOPE", "SYSEXT_LEVEL"],
        ExtensionClass::Configuration => ["CONFEXT_SCOPE", "CONFEXT_LEVEL"],
    };
    let scope = release.get_or_empty(scope_key).unwrap_or(ANY_SCOPE);
    if !words(scope).any(|scope| scope == SCOPE) {
        return Err(NotMerged::Scope {
            key: scope_key,
            scope: scope.to_owned(),
        });
    }
    match release.get("ARCHITECTURE") {
        None | Some("_any") => {}
        extension => require_same("ARCHITECTURE", extension, host.architecture)?,
    }
    match release.get("ID") {
        Some("_any") => return Ok(()),
        extension if extension.is_some_and(|id| is_like(id, host)) => {}
        extension => require_same("ID", extension, own_id)?,
    }
    let version = host.os_release.get("VERSION_ID");
    match (host.os_release.get(level_key), release.get(level_key), version) {
        (Some(own), extension @ Some(_), _) => require_same(level_key, extension, own),
        (_, _, Some(version)) => require_same("VERSION_ID", release.get("VERSION_ID"), version),
        // A distribution without versions.
        (_, _, None) => Ok(()),
    }
}

/// Whether the image is like the distribution `id`.
fn is_like(id: &str, host: ExtensionHost<'_>) -> bool {
    let knows = host.systemd.is_none_or(|systemd| systemd >= FIRST_WITH_ID_LIKE);
    let like = host.os_release.get("ID_LIKE").unwrap_or_default();
    knows && words(like).any(|like| like == id)
}

fn require_same(key: &'static str, extension: Option<&str>, image: &str) -> Result<(), NotMerged> {
    if extension == Some(image) {
        return Ok(());
    }
    Err(NotMerged::Differs {
        key,
        extension: extension.map(str::to_owned),
        image: image.to_owned(),
    })
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', '\t', '\n', '\r'])
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FLATCAR: &str = "ID=flatcar\nID_LIKE=coreos\nVERSION_ID=4593.2.0\nSYSEXT_LEVEL=1.0\n";

    fn judged(class: ExtensionClass, systemd: u32, extension: &str, image: &str) -> Result<(), String> {
        let parse = |text: &str| OsRelease::parse(text.as_bytes(), Some(systemd)).unwrap();
        let os_release = parse(image);
        let host = ExtensionHost {
            os_release: &os_release,
            systemd: Some(systemd),
            architecture: "x86-64",
        };
        judge((class, false), Some(&parse(extension)), host).map_err(|why| why.to_string())
    }

    #[test]
    fn the_reason_names_key_and_both_values() {
        let system = |extension| judged(ExtensionClass::System, 257, extension, FLATCAR);
        let why = |extension| system(extension).unwrap_err();
        assert_eq!(system("ID=flatcar\nSYSEXT_LEVEL=1.0\nVERSION_ID=1\n"), Ok(()));
        assert_eq!(
            why("ID=flatcar\nSYSEXT_LEVEL=2.0\n"),
            "it is for SYSEXT_LEVEL=2.0, the image has 1.0"
        );
        assert_eq!(
            why("ID=flatcar\nVERSION_ID=4230.2.1\n"),
            "it is for VERSION_ID=4230.2.1, the image has 4593.2.0"
        );
        assert_eq!(
            why("ID=flatcar\n"),
            "it has no VERSION_ID, the image has 4593.2.0"
        );
        assert_eq!(
            why("ID=_any\nARCHITECTURE=arm64\n"),
            "it is for ARCHITECTURE=arm64, the image has x86-64"
        );
        assert_eq!(
            why("ID=_any\nSYSEXT_SCOPE=initrd\n"),
            "it has SYSEXT_SCOPE=\"initrd\", without \"system\""
        );
        assert_eq!(why(""), "it has no extension-release file that systemd reads");
    }

    #[test]
    fn configuration_extensions_and_likeness_came_with_a_version() {
        let confext = |systemd| judged(ExtensionClass::Configuration, systemd, "ID=_any\n", FLATCAR);
        assert_eq!(
            confext(252),
            Err("systemd 252 of the image doesn't know it".to_owned())
        );
        assert_eq!(confext(254), Ok(()));
        let coreos = |systemd| {
            judged(
                ExtensionClass::System,
                systemd,
                "ID=coreos\nSYSEXT_LEVEL=1.0\n",
                FLATCAR,
            )
        };
        assert!(coreos(256).is_err());
        assert_eq!(coreos(257), Ok(()));
        let versioned = |systemd| {
            let release = OsRelease::parse(b"ID=_any\n", None).unwrap();
            let os_release = OsRelease::parse(FLATCAR.as_bytes(), None).unwrap();
            let host = ExtensionHost {
                os_release: &os_release,
                systemd: Some(systemd),
                architecture: "x86-64",
            };
            judge((ExtensionClass::System, true), Some(&release), host)
        };
        assert_eq!(versioned(255), Err(NotMerged::Unsupported { systemd: 255 }));
        assert_eq!(versioned(256), Ok(()));
    }

    #[test]
    fn a_distribution_without_versions_takes_any() {
        let arch = |extension| judged(ExtensionClass::System, 257, extension, "ID=arch\n");
        assert_eq!(arch("ID=arch\nVERSION_ID=7\nSYSEXT_LEVEL=9\n"), Ok(()));
        assert!(arch("ID=flatcar\n").is_err());
    }

    /// A line of `tests/fixtures/extensions`.
    #[derive(serde::Deserialize)]
    struct Recorded {
        class: String,
        systemd: u32,
        architecture: String,
        image: String,
        extension: Option<String>,
        merged: bool,
    }

    impl Recorded {
        fn judged(&self) -> Result<(), NotMerged> {
            let parse = |text: &str| {
                // Each character stands for a byte.
                let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
                OsRelease::parse(&bytes, Some(self.systemd)).ok()
            };
            let class = ExtensionClass::ALL
                .into_iter()
                .find(|class| class.word() == self.class);
            let extension = self.extension.as_deref().and_then(parse);
            let host = ExtensionHost {
                os_release: &parse(&self.image).unwrap_or_default(),
                systemd: Some(self.systemd),
                architecture: &self.architecture,
            };
            judge((class.unwrap(), false), extension.as_ref(), host)
        }
    }

    #[test]
    fn the_judgement_is_that_of_real_systemd() {
        for recording in ["systemd-252", "systemd-257"] {
            let path = format!(
                "{}/tests/fixtures/extensions/{recording}.jsonl",
                env!("CARGO_MANIFEST_DIR")
            );
            let text = std::fs::read_to_string(path).unwrap();
            let (mut merged, mut others, mut disagreements) = (0, 0, Vec::new());
            for line in text.lines() {
                let pair: Recorded = serde_json::from_str(line).unwrap();
                let judged = pair.judged();
                if judged.is_ok() != pair.merged {
                    disagreements.push(format!("{judged:?}: {line}"));
                }
                *(if pair.merged { &mut merged } else { &mut others }) += 1;
            }
            assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
            assert!(
                merged >= 200 && others >= 200,
                "{recording}: {merged} merged, {others} not"
            );
        }
    }
}
