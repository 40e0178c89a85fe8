//! The packages of an offer: its payload, and the extensions beside it, by the names that servers give
//! them.
//!
//! A server that hosts a file calls it what it likes: Nebraska makes
//! `extrafile-amd64-4081.2.0-oem-azure.gz` of `oem-azure.gz`, and others put it into a directory.
//! The original's tools look for `*oem-azure.gz`: a file is known by the end of its name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use payload_format::Sha256Digest;
use thiserror::Error;

use super::document::{self, DocumentError, Element};

/// Bytes of a path that is asked for, at most.
const LONGEST_PATH: usize = 1024;

/// Bytes of a file's name at most.
const LONGEST_NAME: usize = 128;

/// What Nebraska puts before the names of files that it hosts, with architecture and version behind
/// it.
const HOSTED: &str = "extrafile-";

/// The end of content payloads' names, whatever servers put before it.
const CONTENT: &str = ".content";

/// How a package's name is that of the file that is looked for, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameMatch {
    /// It is no other.
    Whole,
    /// It is the last part of it, behind `-`, `_`, `/` or the like.
    LastPart,
    /// It ends like it, within a word.
    End,
}

impl NameMatch {
    /// Of a package and a file that is looked for, if it is one.
    #[must_use]
    pub fn of(package: &str, file: &str) -> Option<Self> {
        let before = package.strip_suffix(file)?;
        Some(match before.chars().next_back() {
            None => Self::Whole,
            Some(c) if c.is_alphanumeric() => Self::End,
            Some(_) => Self::LastPart,
        })
    }
}

/// Where within a name a last part of it begins: `a`, `b.c` and `c` are those of `x-a`, `y/b.c` … .
pub fn last_parts(name: &str) -> impl Iterator<Item = &str> {
    let begins = name.char_indices().filter(|(_, c)| !c.is_alphanumeric());
    begins.filter_map(|(at, c)| name.get(at + c.len_utf8()..))
}

/// The name that a file of an offer of this version had before Nebraska hosted it.
#[must_use]
pub fn before_hosting<'a>(name: &'a str, version: &str) -> &'a str {
    let hosted = name.strip_prefix(HOSTED);
    let behind_version = hosted.and_then(|rest| rest.split_once(&format!("-{version}-")));
    match behind_version {
        Some((architecture, own)) if is_file_name(architecture) && !own.is_empty() => own,
        _ => name,
    }
}

/// Whether it can be a file's name as it is, and leads nowhere else.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(fits)
}

/// Whether it can be asked for below an offer's URL: a path that leads nowhere else.
fn is_path(name: &str) -> bool {
    let fits = |c: char| !c.is_control() && !matches!(c, '?' | '#' | '\\');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
    name.len() <= LONGEST_PATH && name.chars().all(fits) && name.split('/').all(is_part)
}

/// Largest package whose size is believed, in bytes.
const MAX_SIZE: u64 = 16 << 30;

/// A `<package>` of an offer. One that makes no sense is no reason to refuse the offer, unless it
/// is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedPackage {
    /// As it stands in the offer.
    pub name: String,
    /// Whether the offer can be taken without it.
    pub need: Need,
    /// Bytes, 1 to 16 GiB; or why it can't be asked for.
    pub size: Result<u64, PackageError>,
    /// SHA-256 of all of them.
    pub sha256: Result<Sha256Digest, PackageError>,
}

/// The attribute `required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `required="true"`.
    Required,
    /// Anything else.
    Optional,
}

/// Why a package can't be asked for.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum PackageError {
    /// A name that can't be asked for, or leads elsewhere.
    #[error(
        "its name can't be asked for: a part of it is empty or begins with a dot, or it holds `?`, `#`, `\\` or control characters"
    )]
    Path,
    /// No name for the file that it becomes.
    #[error(
        "its name is not of at most {LONGEST_NAME} letters, digits, `.`, `_` and `-` of which the first is letter or digit"
    )]
    Name,
    /// No size, or an absurd one.
    #[error("its size {0:?} is no number of bytes from 1 to {MAX_SIZE}")]
    Size(String),
    /// No hash to check it against.
    #[error("its hash_sha256 {0:?} is not 32 bytes in hexadecimal digits or base64")]
    Sha256(String),
}

impl OfferedPackage {
    pub(super) fn from_element(package: &Element) -> Self {
        let name = package.attribute("name");
        Self {
            name: name.to_owned(),
            need: match package.attribute("required") {
                "true" => Need::Required,
                _ => Need::Optional,
            },
            size: size(name, package.attribute("size")),
            sha256: sha256(package.attribute("hash_sha256")),
        }
    }

    /// Whether it is a content payload of the offer's image: no package that must be taken, and
    /// named so.
    #[must_use]
    pub fn is_content(&self) -> bool {
        self.need == Need::Optional && self.name.ends_with(CONTENT)
    }

    /// Size and hash that it must turn out to have.
    ///
    /// # Errors
    /// [`PackageError`]: it can't be asked for, or not be checked.
    pub fn file(&self) -> Result<(u64, Sha256Digest), PackageError> {
        Ok((self.size.clone()?, self.sha256.clone()?))
    }
}

fn size(name: &str, size: &str) -> Result<u64, PackageError> {
    if !is_path(name) {
        return Err(PackageError::Path);
    }
    let known = size.parse().ok().filter(|size| (1..=MAX_SIZE).contains(size));
    known.ok_or_else(|| PackageError::Size(size.to_owned()))
}

fn sha256(text: &str) -> Result<Sha256Digest, PackageError> {
    let bytes = digest(text).ok_or_else(|| PackageError::Sha256(text.to_owned()))?;
    Ok(Sha256Digest::from(bytes))
}

/// Nebraska writes hexadecimal digits, go-omaha's package server base64. Their lengths tell them
/// apart.
fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return STANDARD.decode(text).ok()?.try_into().ok();
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |of: u8| {
            char::from(of)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

/// Where a package of an answer can be downloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageDownload {
    /// Its file's name, as its server gives it: a path that leads nowhere else.
    pub name: String,
    /// Below the first URL of the answer.
    pub url: String,
    /// Below its other URLs, in their order.
    pub fallback_urls: Vec<String>,
    /// Bytes, 1 to 16 GiB.
    pub size: u64,
}

/// Why packages can't be read from an answer.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// It is no XML.
    #[error("the kept answer of the server cannot be parsed")]
    Document(#[from] DocumentError),
}

/// The packages of a kept answer, the payload first; none if it offers nothing. One whose name or
/// size makes no sense is left out: it can't be asked for.
///
/// # Errors
/// [`PackagesError`].
pub fn downloads(body: &[u8]) -> Result<Vec<PackageDownload>, PackagesError> {
    let root = document::parse(body)?;
    let checks = root.descend(&["app", "updatecheck"]);
    Ok(checks.first().map_or_else(Vec::new, |check| of_check(check)))
}

fn of_check(check: &Element) -> Vec<PackageDownload> {
    let urls = check.descend(&["urls", "url"]);
    let mut bases = urls.iter().map(|url| url.attribute("codebase"));
    let first = bases.next().unwrap_or_default();
    let others: Vec<_> = bases.filter(|base| !base.is_empty()).collect();
    let manifests = check.descend(&["manifest"]);
    let found = manifests
        .first()
        .map(|manifest| manifest.descend(&["packages", "package"]));
    let download = |element: &Element| {
        let package = OfferedPackage::from_element(element);
        let size = package.size.ok().filter(|_| !first.is_empty())?;
        let name = package.name;
        Some(PackageDownload {
            url: below(first, &name),
            fallback_urls: others.iter().map(|base| below(base, &name)).collect(),
            name,
            size,
        })
    };
    found.into_iter().flatten().filter_map(download).collect()
}

/// The URL of the package `name` below an offer's `base`.
pub(super) fn below(base: &str, name: &str) -> String {
    let slash = if base.ends_with('/') { "" } else { "/" };
    format!("{base}{slash}{name}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::omaha::{CheckAnswer, Response};

    fn extras(packages: &str) -> Vec<OfferedPackage> {
        let payload = STANDARD.encode([7; 32]);
        let body = format!(
            r#"<response><app><updatecheck status="ok"><urls><url codebase="http://x/"/></urls><manifest version="1">
               <packages><package name="update.gz" size="10"/>{packages}</packages>
               <actions><action event="postinstall" sha256="{payload}"/></actions></manifest></updatecheck></app></response>"#
        );
        match Response::parse(body.as_bytes()).unwrap().answer {
            CheckAnswer::Offer(offer) => offer.extras,
            CheckAnswer::NoUpdate => panic!("no offer"),
        }
    }

    fn one(name: &str, size: &str, hash: &str) -> Result<(u64, Sha256Digest), PackageError> {
        let package = format!(r#"<package name="{name}" size="{size}" hash_sha256="{hash}"/>"#);
        extras(&package).remove(0).file()
    }

    #[test]
    fn hashes_come_in_hexadecimal_digits_or_in_base64() {
        let (hex, base64) = ("0aFf".repeat(16), STANDARD.encode([0xab; 32]));
        let (_, sha256) = one("oem-a.gz", "5", &hex).unwrap();
        assert_eq!(sha256.as_bytes()[..2], [0x0a, 0xff]);
        let file = one("oem-a.gz", "5", &base64).unwrap();
        assert_eq!(file, (5, Sha256Digest::from([0xab; 32])));
    }

    #[test]
    fn what_cannot_be_checked_or_named_is_refused_and_only_that() {
        let good = "00".repeat(32);
        for name in ["", "../x", "a//b", ".hidden", &"x".repeat(1025)] {
            assert_eq!(one(name, "5", &good), Err(PackageError::Path), "{name:?}");
        }
        for size in ["", "0", "-1", "x", "17179869185", "99999999999999999999"] {
            assert!(
                matches!(one("a", size, &good), Err(PackageError::Size(_))),
                "{size:?}"
            );
        }
        for hash in ["", "00", &"0g".repeat(32), &"0".repeat(63)] {
            assert!(
                matches!(one("a", "5", hash), Err(PackageError::Sha256(_))),
                "{hash:?}"
            );
        }
        let both = extras(&format!(
            r#"<package name="/x"/><package name="a.gz" size="5" hash_sha256="{good}" required="true"/>"#
        ));
        assert_eq!((both.len(), both[1].need), (2, Need::Required));
        assert!(both[0].file().is_err() && both[1].file().is_ok());
    }

    #[test]
    fn every_package_of_the_first_manifest_is_named_with_its_url() {
        let body = br#"<response><app><updatecheck status="ok"><urls><url codebase="http://x/p"/><url codebase="http://y/"/></urls>
            <manifest version="1"><packages>
              <package name="flatcar_production_update.gz" size="10"/>
              <package name="oem-azure.gz" size="20" hash_sha256="00"/>
              <package name="../etc/passwd" size="1"/>
              <package name="nothing.gz" size="0"/>
            </packages></manifest></updatecheck></app></response>"#;
        let found = downloads(body).unwrap();
        assert_eq!(found[1].fallback_urls, ["http://y/oem-azure.gz"]);
        let names: Vec<_> = found.iter().map(|p| (p.url.as_str(), p.size)).collect();
        assert_eq!(
            names,
            [
                ("http://x/p/flatcar_production_update.gz", 10),
                ("http://x/p/oem-azure.gz", 20)
            ]
        );
    }

    /// As Nebraska gave them, which had to be told these names.
    #[test]
    fn recorded_packages_are_found_under_the_names_that_their_server_gives() {
        let hosted = include_bytes!(
            "../../tests/fixtures/recordings/nebraska-extra-files/01-check-hosted-by-nebraska.response.xml"
        );
        let elsewhere = include_bytes!(
            "../../tests/fixtures/recordings/nebraska-extra-files/02-check-by-url-without-slash.response.xml"
        );
        let urls = |body| {
            let found = downloads(body).unwrap().into_iter();
            found.map(|package| package.url).collect::<Vec<_>>()
        };
        let base = "http://127.0.0.1:18101/flatcar";
        assert_eq!(
            urls(&hosted[..]),
            ["update-2.0.1.gz", "oem-example.gz", "flatcar-example.gz"].map(|name| format!("{base}/{name}"))
        );
        let base = "https://update.example.com/files";
        assert_eq!(
            urls(&elsewhere[..]),
            [
                "update 2.0.2 & more.gz",
                "oem-example.gz",
                "dir/flatcar-<example>.gz"
            ]
            .map(|name| format!("{base}/{name}"))
        );
    }

    #[test]
    fn an_answer_without_an_offer_has_none() {
        assert_eq!(downloads(b"<response/>").unwrap(), []);
        assert!(downloads(b"no XML").is_err());
    }

    #[test]
    fn the_end_of_a_name_tells_and_the_whole_name_best() {
        let of = |package| NameMatch::of(package, "oem-a.gz");
        assert_eq!(of("oem-a.gz"), Some(NameMatch::Whole));
        for name in ["extrafile-amd64-1.2.3-oem-a.gz", "dir/oem-a.gz", "x_oem-a.gz"] {
            assert_eq!(of(name), Some(NameMatch::LastPart), "{name}");
        }
        assert_eq!(of("xoem-a.gz"), Some(NameMatch::End));
        assert_eq!(of("oem-a.gz.sig"), None);
        assert!(NameMatch::Whole < NameMatch::LastPart && NameMatch::LastPart < NameMatch::End);
    }

    #[test]
    fn names_have_last_parts() {
        let parts: Vec<_> = last_parts("d/x-1.a").collect();
        assert_eq!(parts, ["x-1.a", "1.a", "a"]);
    }

    #[test]
    fn what_nebraska_adds_is_taken_off() {
        let own = |name| before_hosting(name, "4081.2.0+nightly");
        assert_eq!(own("extrafile-amd64-4081.2.0+nightly-oem-a"), "oem-a");
        assert_eq!(
            own("extrafile-arm64-4081.2.0+nightly-x-4081.2.0+nightly-y"),
            "x-4081.2.0+nightly-y"
        );
        for name in [
            "oem-a",
            "extrafile-amd64-4081.2.1-oem-a",
            "extrafile--4081.2.0+nightly-oem-a",
            "extrafile-amd64-4081.2.0+nightly-",
            "x-4081.2.0+nightly-oem-a",
        ] {
            assert_eq!(own(name), name);
        }
    }

    #[test]
    fn paths_lead_downwards() {
        for name in [
            "a",
            "dir/flatcar-<example>.gz",
            "a b & c",
            "extrafile-amd64-1+n-a.gz",
        ] {
            assert!(is_path(name), "{name}");
        }
        for name in [
            "", "/a", "a/", "a//b", "..", "a/../b", ".a", "a?b", "a#b", "a\\b", "a\nb",
        ] {
            assert!(!is_path(name), "{name}");
        }
        assert!(!is_path(&"a".repeat(LONGEST_PATH + 1)));
        assert!(
            is_file_name("oem-a_1.b") && !is_file_name("a/b") && !is_file_name(".a") && !is_file_name("")
        );
    }
}
