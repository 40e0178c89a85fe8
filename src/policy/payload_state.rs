//! The state of the current offer's payload after earlier attempts: which URL to try, and when.
//!
//! ```text
//!  failure of a URL's contents ───────────────▶ next URL ──▶ past the last: first URL, attempt + 1 ─┐
//!  failure of the transfer ──▶ its count + 1 ──▶ at the limit ┘                                     ▼
//!  first bytes arrive ──▶ its count = 0          payload complete (full ones) ──▶ attempt + 1 ──▶ back off
//!                                                                                 2^(attempt - 1) days, at most 16, ± 6 h
//! ```
//!
//! A different offer forgets everything. Kept in the original's preferences, in its words.

use super::backoff;
use super::check_interval::Seed;
use crate::host::NodeMode;
use crate::omaha::{Backoff, ErrorCode, Offer, PayloadKind};
use crate::status::UnixTime;
use crate::store::Key;

/// The penalty of a failure for the URL that the payload came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// The URL serves the wrong thing: try the next one at once.
    NextUrl,
    /// The way to it failed: try it some more.
    Count,
    /// Not the URL's fault.
    None,
}

/// The penalty of `code`.
#[must_use]
pub const fn penalty(code: ErrorCode) -> Penalty {
    use ErrorCode as E;
    match code {
        E::PayloadHashMismatch
        | E::PayloadSizeMismatch
        | E::PayloadVerification
        | E::PublicKeyVerification
        | E::SignedPayloadExpected
        | E::InvalidMagic
        | E::SignatureMissing
        | E::ManifestParse
        | E::MetadataSignature
        | E::MetadataSignatureVerification
        | E::MetadataSignatureMismatch
        | E::OperationHashVerification
        | E::OperationExecution
        | E::OperationHashMismatch
        | E::InvalidMetadataSize
        | E::InvalidMetadataSignature
        | E::OperationHashMissing
        | E::MetadataSignatureMissing => Penalty::NextUrl,
        E::Error | E::DownloadTransfer | E::DownloadWrite | E::DownloadStateInitialization | E::Http(_) => {
            Penalty::Count
        }
        E::OmahaRequest
        | E::ResponseHandler
        | E::Postinstall
        | E::FilesystemCopier
        | E::InstallDeviceOpen
        | E::KernelDeviceOpen
        | E::NewPartitionInfo
        | E::NewRootfsVerification
        | E::NewKernelVerification
        | E::BootedFromFirmwareB
        | E::EmptyResponse
        | E::XmlParse
        | E::ResponseInvalid
        | E::IgnoredPerPolicy
        | E::DeferredPerPolicy
        | E::DeferredForBackoff
        | E::Powerwash
        | E::PcrVerification
        | E::PcrPost
        | E::Rollback => Penalty::None,
    }
}

/// The state of an offer's payload. Equal states have equal preferences: a caller that changes the
/// state writes [`Self::prefs`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayloadState {
    signature: String,
    attempts: u32,
    url_index: u32,
    url_failures: u32,
    backoff_until: Option<UnixTime>,
}

impl PayloadState {
    /// Reads the preferences through `read`. What is missing, negative or no number counts as 0,
    /// and a backoff further away than any that we would set as over now.
    pub fn load(read: impl Fn(Key) -> Option<String>, now: UnixTime) -> Self {
        let number = |key| read(key).and_then(|text| text.trim().parse::<i64>().ok());
        let count = |key| {
            number(key)
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(0)
        };
        let until = number(Key::BackoffExpiryTime).filter(|&time| time > 0);
        Self {
            signature: read(Key::CurrentResponseSignature).unwrap_or_default(),
            attempts: count(Key::PayloadAttemptNumber),
            url_index: count(Key::CurrentUrlIndex),
            url_failures: count(Key::CurrentUrlFailureCount),
            backoff_until: until.map(|time| match now.plus_seconds(backoff::LONGEST) {
                latest if UnixTime(time) > latest => now,
                _ => UnixTime(time),
            }),
        }
    }

    /// The preferences that hold the state.
    #[must_use]
    pub fn prefs(&self) -> [(Key, String); 5] {
        let until = self.backoff_until.map_or(0, |time| time.0);
        [
            (Key::CurrentResponseSignature, self.signature.clone()),
            (Key::PayloadAttemptNumber, self.attempts.to_string()),
            (Key::CurrentUrlIndex, self.url_index.to_string()),
            (Key::CurrentUrlFailureCount, self.url_failures.to_string()),
            (Key::BackoffExpiryTime, until.to_string()),
        ]
    }

    /// Takes in the offer of a check: to be called before anything else is asked about it.
    pub fn offered(&mut self, offer: &Offer) {
        let signature = signature(offer);
        if self.signature != signature || self.index() >= offer.urls.len() {
            *self = Self {
                signature,
                ..Self::default()
            };
        }
    }

    /// The URL to fetch the payload from in this attempt.
    #[must_use]
    pub fn url<'a>(&self, offer: &'a Offer) -> &'a str {
        // An offer has at least one URL; `offered` keeps the index inside.
        let url = offer.urls.get(self.index()).or_else(|| offer.urls.first());
        url.map_or("", String::as_str)
    }

    /// The URLs after [`Self::url`], for an attempt that finds that one refused or too slow. The
    /// attempt as a whole counts once, against the first, as ever: where a further one serves the
    /// payload, there is nothing to count.
    #[must_use]
    pub fn fallback_urls<'a>(&self, offer: &'a Offer) -> &'a [String] {
        offer.urls.get(self.index() + 1..).unwrap_or_default()
    }

    /// Until when to leave the offer alone; nothing if it may be taken now. Deltas never wait: the
    /// full payload that a server offers after a failed one should come soon.
    #[must_use]
    pub fn backoff(&self, offer: &Offer, mode: NodeMode, now: UnixTime) -> Option<UnixTime> {
        let waits = offer.backoff == Backoff::Enabled
            && offer.kind == PayloadKind::Full
            && mode == NodeMode::Production;
        self.backoff_until.filter(|&until| waits && until >= now)
    }

    /// The first bytes of a download arrived: the URL works. Whether that changed anything.
    pub fn progressed(&mut self) -> bool {
        std::mem::take(&mut self.url_failures) != 0
    }

    /// The whole payload arrived. Should this attempt still fail, it is the payload's fault or the
    /// machine's: the next one waits.
    pub fn downloaded(&mut self, offer: &Offer, now: UnixTime, seed: Seed) {
        if offer.kind == PayloadKind::Delta {
            return;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.backoff_until = match offer.backoff {
            Backoff::Disabled => None,
            Backoff::Enabled => Some(now.plus_seconds(backoff::seconds(self.attempts, seed))),
        };
    }

    /// The attempt at `offer` failed.
    pub fn failed(&mut self, offer: &Offer, code: ErrorCode, now: UnixTime, seed: Seed) {
        match penalty(code) {
            Penalty::None => {}
            Penalty::NextUrl => self.next_url(offer, now, seed),
            Penalty::Count => {
                let failures = self.url_failures.saturating_add(1);
                if failures < offer.max_failures_per_url {
                    self.url_failures = failures;
                } else {
                    self.next_url(offer, now, seed);
                }
            }
        }
    }

    fn next_url(&mut self, offer: &Offer, now: UnixTime, seed: Seed) {
        self.url_failures = 0;
        self.url_index = self.url_index.saturating_add(1);
        if self.index() >= offer.urls.len() {
            self.url_index = 0;
            self.downloaded(offer, now, seed);
        }
    }

    fn index(&self) -> usize {
        usize::try_from(self.url_index).unwrap_or(usize::MAX)
    }
}

/// The offer in the words that the original compares offers by.
fn signature(offer: &Offer) -> String {
    use std::fmt::Write as _;
    let mut text = format!("NumURLs = {}\n", offer.urls.len());
    for (index, url) in offer.urls.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "Url{index} = {url}");
    }
    let _ = write!(
        text,
        "Payload Size = {}\nPayload Sha256 Hash = {}\nIs Delta Payload = {}\n\
         Max Failure Count Per Url = {}\nDisable Payload Backoff = {}\n",
        offer.size,
        offer.sha256_base64(),
        u8::from(offer.kind == PayloadKind::Delta),
        offer.max_failures_per_url,
        u8::from(offer.backoff == Backoff::Disabled),
    );
    text
}

#[cfg(test)]
mod tests;
