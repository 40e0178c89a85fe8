//! `Updater`: the seam between the engine's task and everything that takes time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{
    AttemptContext, CancelSignal, CheckOutcome, Commitment, Failure, Fallback, NodeFacts, Report, SlotError,
    StagedReadiness, Unconfirmed,
};
use crate::health::{Cause, TrialEnd};
use crate::policy::ClockStep;
use crate::status::{CheckEnd, Obstacle, OfferSource, Preview, Trigger};

/// A check's outcome, with what an installation of the offer needs to know.
pub type Checked<Plan> = CheckOutcome<(AttemptContext, Plan)>;

impl<Plan> Checked<Plan> {
    /// As it is counted, if it was a check.
    pub(super) const fn end(&self) -> Option<CheckEnd> {
        Some(match self {
            Self::NoUpdate => CheckEnd::NoUpdate,
            Self::Offer(_) => CheckEnd::Taken,
            Self::Failed(failure) => match failure.obstacle {
                Obstacle::Failed | Obstacle::Refused => CheckEnd::Failed,
                _ => CheckEnd::Deferred,
            },
            Self::NotAsked(_) => return None,
        })
    }

    /// The part for the state machine, and the attempt with its plan.
    pub(super) fn split(self) -> (CheckOutcome, Option<(AttemptContext, Plan)>) {
        match self {
            Self::NoUpdate => (CheckOutcome::NoUpdate, None),
            Self::Offer((attempt, plan)) => (CheckOutcome::Offer(attempt.offered()), Some((attempt, plan))),
            Self::Failed(failure) => (CheckOutcome::Failed(failure), None),
            Self::NotAsked(no_update) => (CheckOutcome::NotAsked(no_update), None),
        }
    }
}

/// How far a download has come; the latest counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the payload that have come, or of what is fetched of a content package.
    pub done: u64,
    /// Of how many.
    pub total: u64,
    /// The content package that is fetched; none if it is the payload.
    pub content_package: Option<Arc<str>>,
}

/// What the engine has done by others: the network, the disk, the clock of the wall.
///
/// The phases of an installation hand each other what the next one needs, so that none can be run
/// without the one before it. Beside that travels the attempt's [`AttemptContext`], which each of
/// them adds to: it is what reports and records are made of, also once the chain has ended in a
/// failure.
pub trait Updater: Send + Sync + 'static {
    /// An offer that was taken.
    type Plan: Send + 'static;
    /// A plan to which nothing speaks against; nothing was touched.
    type Ready: Send + 'static;
    /// A slot that holds what the payload says, not bootable yet.
    type Downloaded: Send + 'static;

    /// Unix time in seconds.
    fn now(&self) -> i64;

    /// Time by a clock that nobody sets.
    fn steady(&self) -> Duration;

    /// Ends when somebody sets the clock of the wall.
    fn clock_was_set(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The clock was set: times that were noted before are corrected.
    fn clock_stepped(&self, _step: ClockStep) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// When the next check is due, from now; `None` if this machine is not to check by itself.
    fn until_next_check(&self) -> Option<Duration>;

    /// Why the next check is due then, or never; asked after [`Self::until_next_check`].
    fn next_check_reason(&self) -> String;

    /// Looks at what the node knows beside the engine's state. Only where the other slot is waited
    /// for does a command wait for it.
    fn node_facts(&self) -> impl Future<Output = NodeFacts> + Send;

    /// Watches until the running slot is healthy, or its deadline has passed and it is not. After
    /// one that failed, a further watch has no deadline. Dropped when the engine is stopped.
    fn watch_trial(&self) -> impl Future<Output = TrialEnd> + Send;

    /// Leaves the running slot for the other one because of `cause`, if that boots.
    fn fall_back(&self, cause: Cause) -> impl Future<Output = Fallback> + Send;

    /// Makes the running slot good on disk, or says why it is still on trial.
    fn mark_good(&self) -> impl Future<Output = Result<(), SlotError>> + Send;

    /// Makes the running slot good on disk, whatever its health.
    fn mark_good_anyway(&self) -> impl Future<Output = Result<(), SlotError>> + Send;

    /// Makes the other slot the next to boot and gives what it holds, as far as that is known; or
    /// says why it may not.
    fn roll_back(&self) -> impl Future<Output = Result<String, SlotError>> + Send;

    /// What would come of an attempt that an operator wanted now. Begins none, and ends within half
    /// a minute. Dropped when the engine is stopped.
    fn preview(&self, source: OfferSource) -> impl Future<Output = Preview> + Send;

    /// Asks the server.
    fn check(&self, trigger: Trigger) -> impl Future<Output = Checked<Self::Plan>> + Send;

    /// Tells the server that this node is alive and waits for its reboot, if it is time to; or asks
    /// it, where configuration says so, for another update than the one that waits, and gives its
    /// answer. Dropped when that is not of interest any more.
    fn revisit(&self, trigger: Trigger) -> impl Future<Output = Option<Checked<Self::Plan>>> + Send;

    /// Tells the server about `attempt`; whether it listens changes nothing.
    fn report(&self, attempt: &AttemptContext, report: &Report) -> impl Future<Output = ()> + Send;

    /// Looks at everything that can be refused before the download.
    fn prepare(
        &self,
        attempt: &mut AttemptContext,
        plan: Self::Plan,
    ) -> impl Future<Output = Result<Self::Ready, Failure>> + Send;

    /// Writes the other slot; ends soon after `cancel`, at a point from which it can be resumed.
    fn download(
        &self,
        attempt: &mut AttemptContext,
        ready: Self::Ready,
        progress: watch::Sender<Progress>,
        cancel: CancelSignal,
    ) -> impl Future<Output = Result<Self::Downloaded, Failure>> + Send;

    /// Verifies the slot, runs its postinst, makes it the one that boots next or stages it. Ends soon after
    /// `cancel`, the slot unbootable.
    fn finish(
        &self,
        attempt: &mut AttemptContext,
        downloaded: Self::Downloaded,
        cancel: CancelSignal,
    ) -> impl Future<Output = Result<Commitment, Failure>> + Send;

    /// Reads the staged update back and holds its slot from then on; at once if that is so already.
    /// Gives how it stands. Ends soon after `cancel`.
    fn confirm(
        &self,
        cancel: CancelSignal,
    ) -> impl Future<Output = Result<StagedReadiness, Unconfirmed>> + Send;

    /// Makes the staged update the next to boot, or says why not.
    fn activate(&self) -> impl Future<Output = Result<(), SlotError>> + Send;

    /// The staged update is not wanted: nothing activates it any more; or says why that is not sure.
    fn unstage(&self) -> impl Future<Output = Result<(), SlotError>> + Send;

    /// Tells the server that the node is alive.
    fn ping(&self) -> impl Future<Output = ()> + Send;

    /// Remembers across a restart of the daemon, but not of the machine, that the other slot boots
    /// next: by `attempt`, or because an operator went back to it.
    fn remember_pending(&self, attempt: Option<&AttemptContext>) -> impl Future<Output = ()> + Send;

    /// Whether that is remembered, or an update is staged.
    fn is_pending(&self) -> impl Future<Output = bool> + Send;

    /// Forgets that the other slot boots next.
    fn forget_pending(&self) -> impl Future<Output = ()> + Send;

    /// Makes the other slot unbootable unless it is marked good, and forgets before that it boots
    /// next; or says why not.
    fn withdraw(&self) -> impl Future<Output = Result<(), SlotError>> + Send;
}
