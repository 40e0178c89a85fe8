//! A machine that has no time: its checks follow each other at once.

use std::time::Duration;

use tokio::sync::watch;
use update_engine::engine::{
    AttemptContext, CancelSignal, Checked, Commitment, Failure, Fallback, Node as Machine, NodeFacts,
    Progress, Report, SlotError, StagedReadiness, Unconfirmed, Updater,
};
use update_engine::health::{Cause, TrialEnd};
use update_engine::status::{OfferSource, Preview, Trigger};

/// In everything else it is the real one.
pub(crate) struct ImmediateChecks(pub(crate) Machine);

impl Updater for ImmediateChecks {
    type Plan = <Machine as Updater>::Plan;
    type Ready = <Machine as Updater>::Ready;
    type Downloaded = <Machine as Updater>::Downloaded;

    fn now(&self) -> i64 {
        self.0.now()
    }

    fn steady(&self) -> Duration {
        self.0.steady()
    }

    fn until_next_check(&self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }

    fn next_check_reason(&self) -> String {
        self.0.next_check_reason()
    }

    async fn node_facts(&self) -> NodeFacts {
        self.0.node_facts().await
    }

    async fn watch_trial(&self) -> TrialEnd {
        self.0.watch_trial().await
    }

    async fn fall_back(&self, cause: Cause) -> Fallback {
        self.0.fall_back(cause).await
    }

    async fn mark_good_anyway(&self) -> Result<(), SlotError> {
        self.0.mark_good_anyway().await
    }

    async fn roll_back(&self) -> Result<String, SlotError> {
        self.0.roll_back().await
    }

    async fn mark_good(&self) -> Result<(), SlotError> {
        self.0.mark_good().await
    }

    async fn preview(&self, source: OfferSource) -> Preview {
        self.0.preview(source).await
    }

    async fn check(&self, trigger: Trigger) -> Checked<Self::Plan> {
        self.0.check(trigger).await
    }

    async fn revisit(&self, trigger: Trigger) -> Option<Checked<Self::Plan>> {
        self.0.revisit(trigger).await
    }

    async fn report(&self, attempt: &AttemptContext, report: &Report) {
        self.0.report(attempt, report).await;
    }

    async fn prepare(&self, attempt: &mut AttemptContext, plan: Self::Plan) -> Result<Self::Ready, Failure> {
        self.0.prepare(attempt, plan).await
    }

    async fn download(
        &self,
        attempt: &mut AttemptContext,
        ready: Self::Ready,
        progress: watch::Sender<Progress>,
        cancel: CancelSignal,
    ) -> Result<Self::Downloaded, Failure> {
        self.0.download(attempt, ready, progress, cancel).await
    }

    async fn finish(
        &self,
        attempt: &mut AttemptContext,
        downloaded: Self::Downloaded,
        cancel: CancelSignal,
    ) -> Result<Commitment, Failure> {
        self.0.finish(attempt, downloaded, cancel).await
    }

    async fn remember_pending(&self, attempt: Option<&AttemptContext>) {
        self.0.remember_pending(attempt).await;
    }

    async fn is_pending(&self) -> bool {
        self.0.is_pending().await
    }

    async fn forget_pending(&self) {
        self.0.forget_pending().await;
    }

    async fn confirm(&self, cancel: CancelSignal) -> Result<StagedReadiness, Unconfirmed> {
        self.0.confirm(cancel).await
    }

    async fn activate(&self) -> Result<(), SlotError> {
        self.0.activate().await
    }

    async fn unstage(&self) -> Result<(), SlotError> {
        self.0.unstage().await
    }

    async fn ping(&self) {
        self.0.ping().await;
    }

    async fn withdraw(&self) -> Result<(), SlotError> {
        self.0.withdraw().await
    }
}
