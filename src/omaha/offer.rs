//! The offer of an update: version, URLs, size and hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use payload_format::Sha256Digest;
use thiserror::Error;

use super::document::Element;
use super::packages::{OfferedPackage, below};

/// Failures after which a URL is given up, unless the offer says otherwise.
const DEFAULT_MAX_FAILURES_PER_URL: u32 = 10;

/// Most URLs taken from an offer.
const MAX_URLS: usize = 64;

/// Bytes of a version or a name at most: statuses carry the version a hundred times per download,
/// and the name comes back in every URL.
const LONGEST_TEXT: usize = 1024;

/// Whether a failed payload is put off for days before it is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// The usual.
    Enabled,
    /// `DisablePayloadBackoff="true"`.
    Disabled,
}

/// Whether a payload stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// The whole image.
    Full,
    /// `IsDeltaPayload="true"`: starts from the running image.
    Delta,
}

/// An offer's claim about the payload's metadata (header and manifest), to be checked before
/// anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataClaim {
    /// `MetadataSize`: bytes from the payload's start to the end of its manifest, above 0.
    pub size: u64,
    /// `MetadataSignatureRsa`: a signature over the SHA-256 of those bytes.
    pub signature: Vec<u8>,
}

/// An update, on offer. Not compared with what runs: offering the running version again, or an
/// older one, is how servers reinstall and downgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The manifest's version, for display: one line of at most 1024 bytes; may be empty.
    pub version: String,
    /// Name of the payload among the packages.
    pub package: String,
    /// Where the payload can be had, best first; never empty.
    pub urls: Vec<String>,
    /// Size of the payload in bytes, 1..=2^63 - 1.
    pub size: u64,
    /// SHA-256 of the whole payload.
    pub sha256: Sha256Digest,
    /// Whether it needs the running image.
    pub kind: PayloadKind,
    /// Whether it is put off after failures.
    pub backoff: Backoff,
    /// Consecutive failures after which the next URL is tried.
    pub max_failures_per_url: u32,
    /// What can be known about the metadata beforehand.
    pub metadata: Option<MetadataClaim>,
    /// The packages listed after the payload, in their order.
    pub extras: Vec<OfferedPackage>,
}

/// Why an update that a server offers cannot be taken for one.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OfferError {
    /// An element is missing.
    #[error("the offer has no <{0}>")]
    Missing(&'static str),
    /// An attribute is missing or empty.
    #[error("the offer's <{element}> has no {attribute}")]
    Empty {
        /// The element.
        element: &'static str,
        /// Its attribute.
        attribute: &'static str,
    },
    /// An attribute that can't be shown in one line of a status.
    #[error(
        "the offer's <{element}> has a {attribute} with control characters, or of more than {LONGEST_TEXT} bytes"
    )]
    Text {
        /// The element.
        element: &'static str,
        /// Its attribute.
        attribute: &'static str,
    },
    /// No action says `event="postinstall"`.
    #[error("none of the offer's actions is for event postinstall")]
    NoPostinstall,
    /// Too many URLs.
    #[error("the offer has {0} URLs, more than {MAX_URLS}")]
    TooManyUrls(usize),
    /// A size that is no number from 1 to 2^63 - 1.
    #[error("the offer's payload size {0:?} is no number of bytes above 0")]
    Size(String),
    /// A hash that is not the base64 of 32 bytes.
    #[error("the offer's sha256 {0:?} is not 32 bytes in base64")]
    Sha256(String),
    /// A metadata signature without a size or in no base64.
    #[error("the offer's metadata signature is not base64, or its metadata size {0:?} is no number above 0")]
    Metadata(String),
}

impl Offer {
    /// Reads the children of an `updatecheck` element whose status is `ok`.
    pub(super) fn from_element(check: &Element) -> Result<Self, OfferError> {
        let manifest = first(check, &["manifest"])?;
        let packages = manifest.descend(&["packages", "package"]);
        let (package, extras) = packages.split_first().ok_or(OfferError::Missing("package"))?;
        let action = postinstall(manifest)?;
        let name = plain("package", "name", required(package, "package", "name")?)?;
        Ok(Self {
            version: plain("manifest", "version", manifest.attribute("version"))?.to_owned(),
            package: name.to_owned(),
            urls: urls(check, name)?,
            size: parse_size(package.attribute("size"))
                .ok_or_else(|| OfferError::Size(package.attribute("size").to_owned()))?,
            sha256: sha256(required(action, "action", "sha256")?)?,
            kind: if is_true(action, "IsDeltaPayload") {
                PayloadKind::Delta
            } else {
                PayloadKind::Full
            },
            backoff: if is_true(action, "DisablePayloadBackoff") {
                Backoff::Disabled
            } else {
                Backoff::Enabled
            },
            max_failures_per_url: action
                .attribute("MaxFailureCountPerUrl")
                .parse()
                .unwrap_or(DEFAULT_MAX_FAILURES_PER_URL),
            metadata: metadata(action)?,
            extras: extras
                .iter()
                .map(|extra| OfferedPackage::from_element(extra))
                .collect(),
        })
    }

    /// The hash as the offer spells it.
    #[must_use]
    pub fn sha256_base64(&self) -> String {
        STANDARD.encode(self.sha256.as_bytes())
    }
}

fn first<'a>(parent: &'a Element, path: &'a [&'static str]) -> Result<&'a Element, OfferError> {
    let found = parent.descend(path).into_iter().next();
    found.ok_or(OfferError::Missing(path.last().copied().unwrap_or_default()))
}

fn required<'a>(
    from: &'a Element,
    element: &'static str,
    attribute: &'static str,
) -> Result<&'a str, OfferError> {
    match from.attribute(attribute) {
        "" => Err(OfferError::Empty { element, attribute }),
        value => Ok(value),
    }
}

/// One line, not too long. Clients print the version in lines of `KEY=value` that scripts read, and
/// D-Bus strings hold no zero byte.
fn plain<'a>(element: &'static str, attribute: &'static str, text: &'a str) -> Result<&'a str, OfferError> {
    if text.len() > LONGEST_TEXT || text.chars().any(char::is_control) {
        return Err(OfferError::Text { element, attribute });
    }
    Ok(text)
}

fn postinstall(manifest: &Element) -> Result<&Element, OfferError> {
    let actions = manifest.descend(&["actions", "action"]);
    if actions.is_empty() {
        return Err(OfferError::Missing("action"));
    }
    actions
        .into_iter()
        .find(|action| action.attribute("event") == "postinstall")
        .ok_or(OfferError::NoPostinstall)
}

fn urls(check: &Element, package: &str) -> Result<Vec<String>, OfferError> {
    let urls = check.descend(&["urls", "url"]);
    match urls.len() {
        0 => return Err(OfferError::Missing("url")),
        count if count > MAX_URLS => return Err(OfferError::TooManyUrls(count)),
        _ => {}
    }
    urls.into_iter()
        .map(|url| {
            let codebase = required(url, "url", "codebase")?;
            Ok(below(codebase, package))
        })
        .collect()
}

fn parse_size(text: &str) -> Option<u64> {
    let size: i64 = text.trim().parse().ok()?;
    u64::try_from(size).ok().filter(|&size| size > 0)
}

fn sha256(text: &str) -> Result<Sha256Digest, OfferError> {
    let bytes: Option<[u8; Sha256Digest::LEN]> =
        STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Sha256Digest::from)
        .ok_or_else(|| OfferError::Sha256(text.to_owned()))
}

/// No claim without a signature: a size alone, as Nebraska sends it, proves nothing.
fn metadata(action: &Element) -> Result<Option<MetadataClaim>, OfferError> {
    let (size, signature) = (
        action.attribute("MetadataSize"),
        action.attribute("MetadataSignatureRsa"),
    );
    if signature.is_empty() {
        return Ok(None);
    }
    let claim = parse_size(size).zip(STANDARD.decode(signature).ok());
    claim.map_or_else(
        || Err(OfferError::Metadata(size.to_owned())),
        |(size, signature)| Ok(Some(MetadataClaim { size, signature })),
    )
}

fn is_true(element: &Element, attribute: &str) -> bool {
    element.attribute(attribute) == "true"
}
