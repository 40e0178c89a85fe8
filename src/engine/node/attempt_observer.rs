//! The observer of attempts: what the end of each phase leaves in preferences, records, counters
//! and the journal.
//!
//! ```text
//!                    history of attempts  preferences                 history of updates        elsewhere
//!   checked                                                           counter                   journal's fields
//!   began            under way                                                                  journal's fields
//!   downloaded                            URL, attempts, back-off,    counters, a blocked       schedule of checks
//!                                         failures of deltas          package
//!   installed                             failures 0, old version     counters                  journal
//!   ended            failed, interrupted
//!   failed                                URL, attempts, back-off     hold-off, counters
//!   reboot pending   waiting                                                                    (marker before it)
//! ```
//!
//! Nothing here decides what happens next to the slots: what must be written for their sake is
//! written by the phases.

use std::sync::Arc;

use super::attempt_history::{AttemptEnd, AttemptHistory};
use super::check_schedule::CheckSchedule;
use super::hold_off::CheckHoldOff;
use super::payload_prefs::PayloadPrefs;
use super::update_history::UpdateHistory;
use crate::engine::{AttemptContext, Checked, Failure, Reportable as _};
use crate::install::{InstallError, Voucher};
use crate::journal::{AttemptFields, MessageId};
use crate::omaha::{ErrorCode, HttpStatus, PayloadKind};
use crate::plan::InstallPlan;
use crate::status::Obstacle;

/// Whatever keeps account of attempts.
pub(super) struct AttemptObserver {
    pub(super) attempts: Arc<AttemptHistory>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) payload_prefs: Arc<PayloadPrefs>,
    pub(super) hold_off: Arc<CheckHoldOff>,
    pub(super) schedule: Arc<CheckSchedule>,
    pub(super) fields: AttemptFields,
}

/// The bytes of a payload that came, where any did.
#[derive(Debug, Clone, Copy)]
pub(super) struct PayloadFlow {
    /// Bytes of the payload that were there at the first report.
    pub(super) first: u64,
    /// And at the last one.
    pub(super) last: u64,
    /// How long it took, in milliseconds.
    pub(super) millis: u64,
}

impl AttemptObserver {
    /// A check begins; lines of the journal belong to it and to what follows from it.
    pub(super) fn check_began(&self) {
        self.fields.begin();
    }

    /// A check has ended. One that failed is still to be reported.
    pub(super) fn checked(&self, checked: &Checked<InstallPlan>) {
        if matches!(checked, Checked::NoUpdate | Checked::NotAsked(_)) {
            self.fields.end();
        }
        self.count_check(checked);
    }

    /// A check has ended that was made while an update waits: its failure is not reported.
    pub(super) fn checked_beside(&self, context: &AttemptContext, checked: &Checked<InstallPlan>) {
        if let Checked::Failed(failure) = checked {
            self.hold_off
                .begin_after(context, failure.obstacle, failure.until);
        }
        if !matches!(checked, Checked::Offer(_)) {
            self.fields.end();
        }
        self.count_check(checked);
    }

    fn count_check(&self, checked: &Checked<InstallPlan>) {
        if let Some(end) = checked.end() {
            self.history.count(|tally, now| tally.checked(end, now));
        }
    }

    /// An offer was taken; nothing was looked at yet.
    pub(super) fn began(&self, context: &AttemptContext, plan: &InstallPlan) {
        self.attempts.began(context, plan);
        self.fields.aim(&plan.version, &plan.target.to_string());
    }

    /// The download has ended, well or with `error`.
    pub(super) fn downloaded(
        &self,
        context: &AttemptContext,
        flow: Option<PayloadFlow>,
        error: Option<&InstallError>,
    ) {
        let complete = error.is_none();
        if let Some(PayloadFlow { first, last, millis }) = flow {
            self.payload_prefs.downloaded(context, complete);
            // The first report of a download that goes on tells mostly of what was there.
            let before = if context.resumed { first } else { 0 };
            let whole_after = complete.then_some(millis);
            self.history
                .count(|tally, _| tally.downloaded(last.saturating_sub(before), whole_after));
        }
        if let Some(content) = &context.content {
            self.history.count(|tally, _| match &content.failure {
                Some(_) => tally.gave_content_up(),
                None if complete => tally.made_of_content(),
                // Cancelled: neither.
                None => {}
            });
        }
        match error {
            Some(InstallError::Fetch(error)) => {
                if let Some(status) = error.status() {
                    self.schedule.payload_refused(HttpStatus::Status(status));
                }
            }
            // The next time it need not be asked for. What nobody has vouched for is not held
            // against the package, or whoever sits between could have any package refused.
            Some(InstallError::Blocked {
                image,
                voucher: Voucher::TrustedKey,
                ..
            }) => {
                if let Some(offer) = &context.offer {
                    self.history.block_package(offer.sha256, *image);
                }
            }
            _ => {}
        }
        if let Some(error) = error {
            self.phase_failed(context, error);
        }
    }

    /// A phase after the download's beginning has failed. A delta that failed other than on its way
    /// is counted.
    pub(super) fn phase_failed(&self, context: &AttemptContext, error: &InstallError) {
        let offer = context.offer.as_ref();
        let is_delta = offer.is_some_and(|offer| offer.kind == PayloadKind::Delta);
        if is_delta && error.is_about_payload() && error.code() != ErrorCode::DownloadTransfer {
            self.payload_prefs.delta_failed();
        }
    }

    /// The slot boots next, so many milliseconds after the download. The marker is still to be
    /// left.
    pub(super) fn installed(&self, context: &AttemptContext, millis: impl FnOnce() -> u64) {
        self.payload_prefs.installed();
        if let (Some(slot), Some(offer)) = (context.target, &context.offer) {
            tracing::info!(
                MESSAGE_ID = MessageId::Installed.id(),
                UPDATE_VERSION = offer.version,
                UPDATE_SLOT = %slot,
                "version {:?} is installed in {slot}: it boots next",
                offer.version
            );
        }
        let millis = millis();
        self.history.count(|tally, now| tally.installed(millis, now));
    }

    /// The slot holds the update and doesn't boot, so many milliseconds after the download. The
    /// running version is noted now: whoever activates it may have no time for that.
    pub(super) fn staged(&self, context: &AttemptContext, millis: impl FnOnce() -> u64) {
        self.payload_prefs.installed();
        if let (Some(slot), Some(offer)) = (context.target, &context.offer) {
            tracing::info!(
                MESSAGE_ID = MessageId::Staged.id(),
                UPDATE_VERSION = offer.version,
                UPDATE_SLOT = %slot,
                "version {:?} is staged in {slot}: it doesn't boot before it is activated",
                offer.version
            );
        }
        let millis = millis();
        self.history.count(|tally, _| tally.staged(millis));
    }

    /// The attempt has ended without an installation, after the slot was left as it stays.
    pub(super) fn ended(&self, context: &AttemptContext, end: AttemptEnd, failure: &Failure) {
        self.attempts.ended(context, end, failure);
    }

    /// The server is about to be told of `failure`, which ended a check or an attempt.
    pub(super) fn failed(&self, context: &AttemptContext, failure: &Failure) {
        let (code, obstacle) = (failure.code, failure.obstacle);
        self.payload_prefs.failed(context, code);
        self.hold_off.begin_after(context, obstacle, failure.until);
        if matches!(obstacle, Obstacle::Failed | Obstacle::Refused) {
            self.history.count(|tally, now| tally.failed(code.number(), now));
        }
    }

    /// The server was told of the end.
    pub(super) fn reported(&self) {
        self.fields.end();
    }
}
