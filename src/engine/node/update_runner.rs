//! The runner of updates: the installer's phases, one after the other, each with what it leaves
//! behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::attempt_history::AttemptEnd;
use super::attempt_observer::{AttemptObserver, PayloadFlow};
use super::blocking::Blocking;
use super::machine::Machine;
use super::slot_control::SlotControl;
use super::staged_slot::StagedSlot;
use super::update_history::UpdateHistory;
use crate::config::Activation;
use crate::engine::updater::Progress;
use crate::engine::{AttemptContext, CancelSignal, Commitment, Failure};
use crate::fetch::{FetchSettings, Fetcher};
use crate::install::{
    ContentLog, Downloaded, InstallError, Installer, Pace, PostinstMode, PostinstOutcome, PreflightResult,
    Ready, Site, Tested, Verified,
};
use crate::journal::chain;
use crate::omaha::ErrorCode;
use crate::plan::InstallPlan;
use crate::reboot::RebootRequest;
use crate::status::Trigger;

/// Runs the phases of attempts; and their preflight alone, for previews. Clones are the same one.
#[derive(Clone)]
pub(super) struct UpdateRunner {
    workplace: Blocking<Workplace>,
    history: Blocking<UpdateHistory>,
    observer: Blocking<AttemptObserver>,
    /// Held while the other slot is opened to see whether it can be written.
    preflights: Arc<tokio::sync::Mutex<()>>,
}

/// The machine and its slots, as an installation needs them.
pub(super) struct Workplace {
    pub(super) machine: Arc<Machine>,
    pub(super) slots: Arc<SlotControl>,
    pub(super) staged: Arc<StagedSlot>,
}

impl UpdateRunner {
    pub(super) fn new(
        workplace: Workplace,
        history: &Arc<UpdateHistory>,
        observer: &Blocking<AttemptObserver>,
    ) -> Self {
        Self {
            workplace: Blocking::of(workplace),
            history: Blocking::new(history),
            observer: observer.clone(),
            preflights: Arc::default(),
        }
    }

    /// Looks at everything that can be refused before the download.
    pub(super) async fn prepare(
        &self,
        attempt: &mut AttemptContext,
        plan: InstallPlan,
    ) -> Result<Ready, Failure> {
        attempt.activation = self.workplace.run(Workplace::prepare_staging).await;
        let (context, begins) = (attempt.clone(), plan.clone());
        self.observer
            .run(move |observer| observer.began(&context, &begins))
            .await;
        let ready = self.try_prepare(attempt, plan).await;
        match &ready {
            Ok(ready) => {
                attempt.resumed = ready.resumes();
                attempt.resumed_at = ready.resumed_at();
            }
            Err(failure) => {
                // Nothing was asked of its URL yet: what is wrong is not held against the payload.
                attempt.excuse_offer();
                self.end(attempt, AttemptEnd::Failed, failure).await;
            }
        }
        ready
    }

    async fn try_prepare(&self, attempt: &AttemptContext, plan: InstallPlan) -> Result<Ready, Failure> {
        let _alone = self.preflights.lock().await;
        let site = self.site(attempt.trigger, attempt.stages()).await?;
        Ok(Installer::new(plan, site).prepare().await?)
    }

    /// Looks at the same for a preview, and at the payload's first bytes, which are waited for as
    /// long as `patience`.
    pub(super) async fn examine(
        &self,
        plan: InstallPlan,
        patience: Duration,
    ) -> Result<Vec<PreflightResult>, Failure> {
        // An attempt that begins meanwhile wants the slot for itself.
        let _alone = self.preflights.lock().await;
        let stages = self.workplace.run(Workplace::activation).await != Activation::AtOnce;
        let site = self.site(Trigger::Operator, stages).await?;
        Ok(Installer::new(plan, site).examine(patience).await)
    }

    /// Downloads the payload into the other slot.
    pub(super) async fn download(
        &self,
        attempt: &mut AttemptContext,
        ready: Ready,
        progress: watch::Sender<Progress>,
        cancel: &CancelSignal,
    ) -> Result<Downloaded, Failure> {
        let (begun, log) = (Instant::now(), ready.content());
        let downloaded = self.try_download(attempt, ready, &progress, cancel.token()).await;
        attempt.content = log.get();
        attempt.fetched = progress.borrow().done.saturating_sub(attempt.resumed_at) + given_up(&log);
        attempt.download_seconds = begun.elapsed().as_secs();
        if let Err(failure) = &downloaded {
            self.end(attempt, AttemptEnd::of(cancel), failure).await;
        }
        downloaded
    }

    async fn try_download(
        &self,
        attempt: &AttemptContext,
        ready: Ready,
        progress: &watch::Sender<Progress>,
        cancel: &CancellationToken,
    ) -> Result<Downloaded, Failure> {
        let total = attempt.offered().size;
        // From here on the original must not resume a download of its own: the slot is ours.
        self.workplace
            .run(|workplace| workplace.machine.prefs().forbid_resume())
            .await?;
        let (begun, log) = (Instant::now(), ready.content());
        let mut flow: Option<(u64, u64)> = None;
        let mut tell = |done: u64| {
            flow = Some((flow.map_or(done, |(first, _)| first), done));
            let content = log.get().filter(|content| content.failure.is_none());
            progress.send_replace(Progress {
                done,
                total: log.expected().unwrap_or(total),
                content_package: content.map(|content| content.package.into()),
            });
        };
        let downloaded = ready.download(&mut tell, cancel).await;
        let flow = flow.map(|(first, last)| PayloadFlow {
            first,
            last: last.saturating_add(given_up(&log)),
            millis: millis(begun),
        });
        let mut context = attempt.clone();
        context.content = log.get();
        let downloaded = self.observer.run(move |observer| {
            observer.downloaded(&context, flow, downloaded.as_ref().err());
            downloaded
        });
        Ok(downloaded.await?)
    }

    /// Verifies the slot, runs its postinst, makes it the next to boot. A success is only in the
    /// history of attempts once a reboot is pending.
    pub(super) async fn finish(
        &self,
        attempt: &mut AttemptContext,
        downloaded: Downloaded,
        cancel: &CancelSignal,
    ) -> Result<Commitment, Failure> {
        let begun = Instant::now();
        let committed = self.try_finish(attempt, downloaded, cancel.token()).await;
        attempt.finish_seconds = begun.elapsed().as_secs();
        match &committed {
            Ok(Commitment::Clean) => {}
            Ok(Commitment::AfterError(failure)) => attempt.remark = Some(failure.clone()),
            Ok(Commitment::Staged(remark)) => {
                attempt.remark.clone_from(remark);
                let context = attempt.clone();
                self.observer
                    .run(move |observer| observer.attempts.staged(&context))
                    .await;
            }
            Err(failure) => self.end(attempt, AttemptEnd::of(cancel), failure).await,
        }
        committed
    }

    async fn try_finish(
        &self,
        attempt: &mut AttemptContext,
        downloaded: Downloaded,
        cancel: &CancellationToken,
    ) -> Result<Commitment, Failure> {
        let begun = Instant::now();
        // Before the image's postinst, which may set boot attributes and ask for the reboot itself. A cut
        // after this leaves a record of a slot that is whole and not bootable, which means nothing.
        attempt.reboot_wanted = self
            .workplace
            .run(|workplace| RebootRequest::of(workplace.machine.host()).is_made())
            .await;
        let (context, image) = (attempt.clone(), downloaded.image());
        let verified = self.verify(attempt, downloaded, cancel).await?;
        self.history
            .run(move |history| history.remember_target(&context, image))
            .await?;
        let expects_no_request = attempt.stages() && !attempt.reboot_wanted;
        let committed = async {
            if expects_no_request {
                self.workplace.run(Workplace::note_absence_of_request).await;
            }
            let tested = verified.postinstall(cancel).await;
            if expects_no_request {
                // Whether it has agreed or not: nothing waits for a reboot.
                self.workplace.run(Workplace::withdraw_request_of_postinst).await;
            }
            let tested = tested?;
            let lost = tested.lost_extensions().to_vec();
            self.history.run(move |history| history.remember_lost(lost)).await;
            if attempt.stages() {
                self.stage(attempt, tested).await
            } else {
                tested.commit().await
            }
        };
        let committed = committed.await;
        let context = attempt.clone();
        let committed = self.observer.run(move |observer| {
            match &committed {
                Ok(_) if context.stages() => observer.staged(&context, || millis(begun)),
                Ok(_) => observer.installed(&context, || millis(begun)),
                Err(error) => observer.phase_failed(&context, error),
            }
            committed
        });
        let error = || {
            Failure::new(
                ErrorCode::BootedFromFirmwareB,
                "the new image's postinst ended with exit code 3",
            )
        };
        Ok(match (attempt.stages(), committed.await?) {
            (false, PostinstOutcome::Clean) => Commitment::Clean,
            (false, PostinstOutcome::AfterError) => Commitment::AfterError(error()),
            (true, PostinstOutcome::Clean) => Commitment::Staged(None),
            (true, PostinstOutcome::AfterError) => Commitment::Staged(Some(error())),
        })
    }

    /// Reads back what was written, and tells the observer if it is wrong.
    async fn verify(
        &self,
        attempt: &AttemptContext,
        downloaded: Downloaded,
        cancel: &CancellationToken,
    ) -> Result<Verified, InstallError> {
        let (context, verified) = (attempt.clone(), downloaded.verify(cancel).await);
        let verified = self
            .observer
            .run(move |observer| verified.inspect_err(|error| observer.phase_failed(&context, error)));
        verified.await
    }

    /// Leaves the update staged.
    async fn stage(&self, attempt: &AttemptContext, tested: Tested) -> Result<PostinstOutcome, InstallError> {
        let (context, staged) = (attempt.clone(), self.workplace.on_this_thread().staged.clone());
        tested.stage(move |image| staged.keep(&context, image)).await
    }

    async fn end(&self, attempt: &mut AttemptContext, end: AttemptEnd, failure: &Failure) {
        // Nobody's fault: nothing is held against the payload or its URL. What failed by itself
        // before the cancel is counted.
        if end == AttemptEnd::Cancelled {
            attempt.excuse_offer();
        }
        let (context, failure) = (attempt.clone(), failure.clone());
        self.observer
            .run(move |observer| observer.ended(&context, end, &failure))
            .await;
    }

    async fn site(&self, trigger: Trigger, stages: bool) -> Result<Site, Failure> {
        self.workplace
            .run(move |workplace| workplace.site(trigger, stages))
            .await
    }
}

impl Workplace {
    /// What activates an update. Where configuration can't be read nothing is installed.
    fn activation(&self) -> Activation {
        let config = self.machine.config();
        config.map_or(Activation::Order, |config| config.activation)
    }

    /// The same for an attempt that begins: what is staged is not held any more, or its slot could
    /// not be opened.
    fn prepare_staging(&self) -> Activation {
        self.staged.release();
        self.activation()
    }

    /// So that a daemon that is started anew withdraws what a postinst has asked for that was killed
    /// with this one.
    fn note_absence_of_request(&self) {
        if let Err(error) = RebootRequest::of(self.machine.host()).note_absence() {
            tracing::warn!("a request for a reboot may outlive us: {}", chain(&error));
        }
    }

    /// Withdraws the request for a reboot that a postinst has made where there was none before.
    fn withdraw_request_of_postinst(&self) {
        if let Err(error) = RebootRequest::of(self.machine.host()).withdraw_unwanted() {
            tracing::warn!("the postinst's request for a reboot stays: {}", chain(&error));
        }
    }

    /// What an installation that `trigger` has caused works with.
    fn site(&self, trigger: Trigger, stages: bool) -> Result<Site, Failure> {
        let slots = self.slots.for_installation()?;
        let load = self.machine.config()?.load;
        let (patience, priority) = match trigger {
            Trigger::Operator => (FetchSettings::interactive(), load.on_demand),
            Trigger::Schedule => (FetchSettings::default(), load.scheduled),
        };
        Ok(Site {
            host: self.machine.host().clone(),
            slots: Arc::new(slots),
            fetcher: Fetcher::new(FetchSettings {
                rate: load.download,
                floor: load.download_floor,
                ..patience
            }),
            postinst: match self.machine.postinst() {
                PostinstMode::Run if stages => PostinstMode::RunConfined,
                postinst => postinst,
            },
            pace: Pace {
                priority,
                pressure: load.pressure,
                ..Pace::default()
            },
        })
    }
}

impl AttemptEnd {
    fn of(cancel: &CancelSignal) -> Self {
        match (cancel.token().is_cancelled(), cancel.is_by_operator()) {
            (false, _) => Self::Failed,
            (true, false) => Self::Stopped,
            (true, true) => Self::Cancelled,
        }
    }
}

/// Bytes that were fetched of a content package for nothing.
fn given_up(content: &ContentLog) -> u64 {
    let given_up = content.get().filter(|content| content.failure.is_some());
    given_up.map_or(0, |content| content.fetched)
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
