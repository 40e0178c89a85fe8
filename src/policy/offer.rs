//! The decisions about offers: whether to ask for deltas (`delta_okay`), and whether to take what is
//! offered.
//!
//! Versions are never compared: a server that offers the running version, or an older one, or none
//! at all in words, means it.

use super::BlockedPayload;
use super::payload_state::PayloadState;
use crate::host::NodeMode;
use crate::omaha::{Deltas, Offer};
use crate::plan::ContentPackage;
use crate::status::{Trigger, UnixTime};

/// Failed deltas after which only full payloads are asked for, until one update has succeeded.
const MOST_FAILURES: i64 = 3;

/// The state of the running slot's bytes, which a delta would read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningSlot {
    /// An image as it was built: dm-verity says so at each read, or it was verified when it was
    /// written, and nothing writes to a slot that runs.
    Intact,
    /// Nobody knows whether it is as it was built.
    Unknown,
}

/// The answer to servers after `failures` deltas have failed without a success since. A delta for
/// other bytes than these would be refused, but only once the slot was read, and after an attempt
/// that the server counts.
#[must_use]
pub const fn wanted_deltas(running: RunningSlot, failures: i64) -> Deltas {
    match running {
        RunningSlot::Intact if failures < MOST_FAILURES => Deltas::Welcome,
        RunningSlot::Intact | RunningSlot::Unknown => Deltas::Unwanted,
    }
}

/// Everything beside the offer that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// The state that earlier attempts left, with this offer already taken in by
    /// [`PayloadState::offered`].
    pub payload_state: &'a PayloadState,
    /// The blocked payload that is this offer's, or makes the same image: see
    /// [`super::History::blocked_payload`].
    pub blocked: Option<&'a BlockedPayload>,
    /// Who asked for the check.
    pub trigger: Trigger,
    /// Production or developer: a developer's node knows no back-off.
    pub mode: NodeMode,
    /// The wall clock's time.
    pub now: UnixTime,
}

/// The decision about an offer.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Install it, from this URL.
    Take {
        /// The URL to fetch the payload from in this attempt.
        url: &'a str,
    },
    /// Don't install it again unless an operator asks: the node rolled back from it.
    RolledBackBefore(&'a BlockedPayload),
    /// Put it off.
    BackOff {
        /// Unix time from which on the offer may be taken.
        until: UnixTime,
    },
}

/// Decides about `offer`.
#[must_use]
pub fn decide<'a>(offer: &'a Offer, input: &PolicyInput<'a>) -> Decision<'a> {
    let PolicyInput {
        payload_state,
        blocked,
        trigger,
        mode,
        now,
    } = *input;
    if trigger == Trigger::Schedule
        && let Some(blocked) = blocked
    {
        return Decision::RolledBackBefore(blocked);
    }
    match payload_state.backoff(offer, mode, now) {
        Some(until) => Decision::BackOff { until },
        None => Decision::Take {
            url: payload_state.url(offer),
        },
    }
}

/// The content payload of the offer's image: the first of its further packages that is named as one
/// and has a size; none if there is none. It lies where the payload does: below `urls`, which are
/// the payload's, the best first.
#[must_use]
pub fn content_package(offer: &Offer, urls: &[String]) -> Option<ContentPackage> {
    let mut found = offer.extras.iter().filter(|extra| extra.is_content());
    let (name, size) = found.find_map(|extra| Some((&extra.name, extra.size.clone().ok()?)))?;
    // Invariant: every URL of an offer ends in its package's name.
    let mut urls = urls.iter().map(|url| {
        let base = url.strip_suffix(offer.package.as_str()).unwrap_or(url);
        format!("{base}{name}")
    });
    Some(ContentPackage {
        name: name.clone(),
        url: urls.next()?,
        fallback_urls: urls.collect(),
        size,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::omaha::{CheckAnswer, Response};

    fn content_of(packages: &str) -> Option<ContentPackage> {
        let body = format!(
            r#"<response><app><updatecheck status="ok"><urls><url codebase="http://x/d/"/><url codebase="http://y"/></urls>
               <manifest version="1"><packages><package name="update.gz" size="10"/>{packages}</packages>
               <actions><action event="postinstall" sha256="{}"/></actions></manifest></updatecheck></app></response>"#,
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
        );
        match Response::parse(body.as_bytes()).unwrap().answer {
            CheckAnswer::Offer(offer) => content_package(&offer, &offer.urls),
            CheckAnswer::NoUpdate => panic!("no offer"),
        }
    }

    #[test]
    fn the_first_further_package_that_is_named_as_one_and_has_a_size_is_the_content_payload() {
        let found = content_of(
            r#"<package name="oem-a.gz" size="5"/><package name="a.content" size="0"/>
               <package name="b.content" size="7" required="true"/><package name="../c.content" size="7"/>
               <package name="extrafile-amd64-1-update.content" size="7" required="false"/>
               <package name="d.content" size="9"/>"#,
        );
        let expected = ContentPackage {
            name: "extrafile-amd64-1-update.content".to_owned(),
            url: "http://x/d/extrafile-amd64-1-update.content".to_owned(),
            fallback_urls: vec!["http://y/extrafile-amd64-1-update.content".to_owned()],
            size: 7,
        };
        assert_eq!(found, Some(expected));
        assert_eq!(content_of(r#"<package name="content" size="5"/>"#), None);
    }

    #[test]
    fn deltas_are_for_slots_that_are_known_until_three_have_failed() {
        for (running, failures, expected) in [
            (RunningSlot::Unknown, 0, Deltas::Unwanted),
            (RunningSlot::Intact, 0, Deltas::Welcome),
            (RunningSlot::Intact, 2, Deltas::Welcome),
            (RunningSlot::Intact, 3, Deltas::Unwanted),
            (RunningSlot::Intact, i64::MAX, Deltas::Unwanted),
            (RunningSlot::Intact, -1, Deltas::Welcome),
        ] {
            assert_eq!(
                wanted_deltas(running, failures),
                expected,
                "{running:?} {failures}"
            );
        }
    }
}
