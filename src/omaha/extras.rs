//! Packages that an offer lists after its payload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::document::Element;
use super::package_name::{LONGEST_NAME, is_path};
use super::packages::MAX_SIZE;

/// A package beside the payload. One that makes no sense is no reason to refuse the offer, unless somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// As it stands in the offer.
    pub name: String,
    /// Whether the offer can be taken without it.
    pub need: Need,
    /// What it must turn out to be.
    pub file: Result<ExtraFile, ExtraError>,
}

/// The attribute `required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `required="true"`.
    Required,
    /// Anything else.
    Optional,
}

/// What the offer says of a package that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtraFile {
    /// Bytes, 1 to 16 GiB.
    pub size: u64,
    /// SHA-256 of all of them.
    pub sha256: [u8; 32],
}

/// Why a package can't be asked for.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum ExtraError {
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

impl Extra {
    pub(super) fn from_element(package: &Element) -> Self {
        let name = package.attribute("name");
        Self {
            name: name.to_owned(),
            need: match package.attribute("required") {
                "true" => Need::Required,
                _ => Need::Optional,
            },
            file: file(name, package),
        }
    }
}

fn file(name: &str, package: &Element) -> Result<ExtraFile, ExtraError> {
    if !is_path(name) {
        return Err(ExtraError::Path);
    }
    let (size, sha256) = (package.attribute("size"), package.attribute("hash_sha256"));
    let known = size.parse().ok().filter(|size| (1..=MAX_SIZE).contains(size));
    Ok(ExtraFile {
        size: known.ok_or_else(|| ExtraError::Size(size.to_owned()))?,
        sha256: digest(sha256).ok_or_else(|| ExtraError::Sha256(sha256.to_owned()))?,
    })
}

/// Nebraska writes hexadecimal digits, go-omaha's package server base64. Their lengths tell them apart.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::omaha::{Answer, Response};

    fn extras(packages: &str) -> Vec<Extra> {
        let payload = STANDARD.encode([7; 32]);
        let body = format!(
            r#"<response><app><updatecheck status="ok"><urls><url codebase="http://x/"/></urls><manifest version="1">
               <packages><package name="update.gz" size="10"/>{packages}</packages>
               <actions><action event="postinstall" sha256="{payload}"/></actions></manifest></updatecheck></app></response>"#
        );
        match Response::parse(body.as_bytes()).unwrap().answer {
            Answer::Offer(offer) => offer.extras,
            Answer::NoUpdate => panic!("no offer"),
        }
    }

    fn one(name: &str, size: &str, hash: &str) -> Result<ExtraFile, ExtraError> {
        let package = format!(r#"<package name="{name}" size="{size}" hash_sha256="{hash}"/>"#);
        extras(&package).remove(0).file
    }

    #[test]
    fn hashes_come_in_hexadecimal_digits_or_in_base64() {
        let (hex, base64) = ("0aFf".repeat(16), STANDARD.encode([0xab; 32]));
        assert_eq!(one("oem-a.gz", "5", &hex).unwrap().sha256[..2], [0x0a, 0xff]);
        let file = one("oem-a.gz", "5", &base64).unwrap();
        assert_eq!((file.size, file.sha256), (5, [0xab; 32]));
    }

    #[test]
    fn what_cannot_be_checked_or_named_is_refused_and_only_that() {
        let good = "00".repeat(32);
        for name in ["", "../x", "a//b", ".hidden", &"x".repeat(1025)] {
            assert_eq!(one(name, "5", &good), Err(ExtraError::Path), "{name:?}");
        }
        for size in ["", "0", "-1", "x", "17179869185", "99999999999999999999"] {
            assert!(
                matches!(one("a", size, &good), Err(ExtraError::Size(_))),
                "{size:?}"
            );
        }
        for hash in ["", "00", &"0g".repeat(32), &"0".repeat(63)] {
            assert!(
                matches!(one("a", "5", hash), Err(ExtraError::Sha256(_))),
                "{hash:?}"
            );
        }
        let both = extras(&format!(
            r#"<package name="/x"/><package name="a.gz" size="5" hash_sha256="{good}" required="true"/>"#
        ));
        assert_eq!((both.len(), both[1].need), (2, Need::Required));
        assert!(both[0].file.is_err() && both[1].file.is_ok());
    }
}
