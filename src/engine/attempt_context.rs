//! The facts of one attempt, from the check that brought it to its end; and the signal that ends it
//! early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Failure, OfferSummary};
use crate::config::Activation;
use crate::disk::SlotName;
use crate::omaha::Offer;
use crate::plan::ContentUse;
use crate::status::Trigger;

/// One attempt: who asked for it, what was offered, and what its phases found out so far. It
/// travels with the values of the phases ([`Updater`](super::Updater)) and outlives the last of
/// them, so that reports of the end know what ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptContext {
    /// The schedule or an operator, for whom the check was made.
    pub trigger: Trigger,
    /// The offer that was taken; none if the check brought none, or none that was.
    pub offer: Option<Arc<Offer>>,
    /// The slot that is written; known once an offer was taken.
    pub target: Option<SlotName>,
    /// Whether an earlier attempt at the same payload is continued.
    pub resumed: bool,
    /// Bytes of the payload that the earlier attempt has brought.
    pub resumed_at: u64,
    /// Bytes that came in this one, those of a content package included.
    pub fetched: u64,
    /// What came of the offer's content package, if it was tried.
    pub content: Option<ContentUse>,
    /// How long fetching and writing took, in seconds.
    pub download_seconds: u64,
    /// How long verification, postinst and commit took, in seconds.
    pub finish_seconds: u64,
    /// What makes the update the next to boot; if that isn't its installation it is staged.
    pub activation: Activation,
    /// Whether somebody else had asked for a reboot before the new image's postinst could.
    pub reboot_wanted: bool,
    /// An error in spite of which the slot boots next.
    pub remark: Option<Failure>,
    /// Whether the failure is nobody's fault: neither the payload's nor its URL's.
    offer_is_excused: bool,
}

impl AttemptContext {
    /// A check that `trigger` has caused; nothing is offered yet.
    #[must_use]
    pub const fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            offer: None,
            target: None,
            resumed: false,
            resumed_at: 0,
            fetched: 0,
            content: None,
            download_seconds: 0,
            finish_seconds: 0,
            activation: Activation::AtOnce,
            reboot_wanted: false,
            remark: None,
            offer_is_excused: false,
        }
    }

    /// The attempt at `offer`, which is to be written to `target`.
    #[must_use]
    pub fn at(trigger: Trigger, offer: Offer, target: SlotName) -> Self {
        Self {
            offer: Some(Arc::new(offer)),
            target: Some(target),
            ..Self::new(trigger)
        }
    }

    /// What the status shows of the offer; nothing of none.
    pub(super) fn offered(&self) -> OfferSummary {
        let offer = self.offer.as_ref();
        OfferSummary {
            version: offer.map(|offer| offer.version.clone()).unwrap_or_default(),
            size: offer.map_or(0, |offer| offer.size),
        }
    }

    /// Whether the update is staged, and not made the next to boot.
    #[must_use]
    pub fn stages(&self) -> bool {
        self.activation != Activation::AtOnce
    }

    /// Whatever ends it is held neither against the payload nor against its URL.
    pub(super) const fn excuse_offer(&mut self) {
        self.offer_is_excused = true;
    }

    /// The offer that a failure is held against.
    pub(super) fn offer_at_fault(&self) -> Option<&Offer> {
        self.offer.as_deref().filter(|_| !self.offer_is_excused)
    }
}

/// Ends an attempt early: an operator breaks it off, or the daemon ends. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct CancelSignal {
    token: CancellationToken,
    by_operator: Arc<AtomicBool>,
}

impl CancelSignal {
    /// A signal that `stop` gives, too.
    pub(super) fn child_of(stop: &CancellationToken) -> Self {
        Self {
            token: stop.child_token(),
            by_operator: Arc::default(),
        }
    }

    /// An operator breaks the attempt off.
    pub(super) fn cancel_by_operator(&self) {
        // Before the token, so that nobody who sees that one cancelled takes it for the daemon's
        // end.
        self.by_operator.store(true, Ordering::Release);
        self.token.cancel();
    }

    /// Whether an operator has given it, before or after the daemon's end.
    pub(super) fn is_by_operator(&self) -> bool {
        self.by_operator.load(Ordering::Acquire)
    }

    /// What the phases wait for.
    pub(super) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}
