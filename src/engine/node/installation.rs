//! The installer's phases, and what they leave in the original's preferences.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::engine::updater::Progress;
use crate::engine::{AttemptContext, Commitment, Failure, Reportable as _};
use crate::fetch::{FetchSettings, Fetcher};
use crate::install::{Downloaded, InstallError, Installer, Pace, PostinstOutcome, Ready, Site, Voucher};
use crate::journal::MessageId;
use crate::journal::chain;
use crate::omaha::{ErrorCode, HttpStatus, PayloadKind};
use crate::plan::{ImageHashes, InstallPlan};
use crate::policy::ServerPace;
use crate::reboot::RebootRequest;
use crate::status::Trigger;
use crate::store::{Key, PrefsError};

impl Node {
    pub(super) async fn look_before(
        &self,
        attempt: &mut AttemptContext,
        plan: InstallPlan,
    ) -> Result<Ready, Failure> {
        self.attempt_fields.aim(&plan.version, &plan.target.to_string());
        let ready = self.preflight(attempt.trigger, plan).await;
        attempt.resumed = ready.as_ref().is_ok_and(Ready::resumes);
        if ready.is_err() {
            // Nothing was asked of its URL yet: what is wrong is not held against the payload.
            attempt.exonerate_offer();
        }
        ready
    }

    async fn preflight(&self, trigger: Trigger, plan: InstallPlan) -> Result<Ready, Failure> {
        let _alone = self.preflights.lock().await;
        let site = self.site(trigger).await?;
        Ok(Installer::new(plan, site).preflight().await?)
    }

    /// What an installation that `trigger` has caused works with.
    pub(super) async fn site(&self, trigger: Trigger) -> Result<Site, Failure> {
        let disk = self.blocking(Self::announced_slots).await?;
        let load = self.blocking(Self::config).await?.load;
        let (patience, priority) = match trigger {
            Trigger::Operator => (FetchSettings::interactive(), load.on_demand),
            Trigger::Schedule => (FetchSettings::default(), load.scheduled),
        };
        Ok(Site {
            host: self.host().clone(),
            slots: Arc::new(disk),
            fetcher: Fetcher::new(FetchSettings {
                rate: load.download,
                floor: load.download_floor,
                ..patience
            }),
            postinst: self.settings.postinst,
            pace: Pace {
                priority,
                pressure: load.pressure,
                ..Pace::default()
            },
        })
    }

    pub(super) async fn write_slot(
        &self,
        attempt: &AttemptContext,
        ready: Ready,
        progress: &watch::Sender<Progress>,
        cancel: &CancellationToken,
    ) -> Result<Downloaded, Failure> {
        let total = attempt.offered().size;
        // From here on the original must not resume a download of its own: the slot is ours.
        self.blocking(|node| node.prefs.forbid_resume()).await?;
        let begun = Instant::now();
        let mut flow: Option<(u64, u64)> = None;
        let mut tell = |done: u64| {
            flow = Some((flow.map_or(done, |(first, _)| first), done));
            progress.send_replace((done, total));
        };
        let downloaded = ready.download(&mut tell, cancel).await;
        let complete = downloaded.is_ok();
        if let Some((first, last)) = flow {
            let context = attempt.clone();
            self.blocking(move |node| node.count_download(&context, complete))
                .await;
            // The first report of a download that goes on tells mostly of what was there.
            let before = if attempt.resumed { first } else { 0 };
            let whole_after = complete.then(|| millis(begun));
            self.count_in(move |tally, _| tally.downloaded(last.saturating_sub(before), whole_after))
                .await;
        }
        match &downloaded {
            Err(InstallError::Fetch(error)) => self.answered_with(error.status()),
            Err(InstallError::Blamed { image, voucher, .. }) => {
                self.refuse_package(attempt, *image, *voucher).await;
            }
            _ => {}
        }
        Ok(self.count_delta(attempt, downloaded).await?)
    }

    /// The package of the attempt under way makes a blamed image: the next time it need not be asked for. What nobody has
    /// vouched for is not held against it, or whoever sits between could have any package refused.
    async fn refuse_package(&self, attempt: &AttemptContext, image: ImageHashes, voucher: Voucher) {
        let package = attempt.offer.as_ref().map(|offer| offer.sha256);
        if let (Some(package), Voucher::TrustedKey) = (package, voucher) {
            self.blocking(move |node| node.blame_package(package, image))
                .await;
        }
    }

    /// Servers of payloads slow down checks as those of updates do: often they are the same.
    fn answered_with(&self, status: Option<u16>) {
        if let Some(status) = status {
            self.memory(|memory| {
                let outcome = memory.outcome.get_or_insert(ServerPace::ORDINARY);
                outcome.failure = Some(HttpStatus::Status(status));
            });
        }
    }

    /// Counts a delta that failed other than on its way: full payloads are asked for after some of these.
    async fn count_delta<T>(
        &self,
        attempt: &AttemptContext,
        result: Result<T, InstallError>,
    ) -> Result<T, InstallError> {
        let offer = attempt.offer.as_ref();
        let is_delta = offer.is_some_and(|offer| offer.kind == PayloadKind::Delta);
        if let Err(error) = &result
            && is_delta
            && error.is_about_payload()
            && error.code() != ErrorCode::DownloadTransfer
        {
            self.blocking(|node| node.count(Key::DeltaUpdateFailures)).await;
        }
        result
    }

    pub(super) async fn commit_slot(
        &self,
        attempt: &mut AttemptContext,
        written: Downloaded,
        cancel: &CancellationToken,
    ) -> Result<Commitment, Failure> {
        // Before the image's postinst, which may set boot attributes and ask for the reboot itself. A cut after this leaves a record
        // of a slot that is not bootable, which means nothing.
        let begun = Instant::now();
        attempt.reboot_wanted = RebootRequest::of(self.host()).is_made();
        let (context, image) = (attempt.clone(), written.image());
        self.blocking(move |node| node.remember_target(&context, image))
            .await?;
        let outcome = self
            .count_delta(attempt, self.test_and_commit(written, cancel).await)
            .await?;
        self.blocking(Self::remember_success).await;
        say_installed(attempt);
        let after = millis(begun);
        self.count_in(move |tally, now| tally.installed(after, now)).await;
        Ok(match outcome {
            PostinstOutcome::Clean => Commitment::Clean,
            PostinstOutcome::AfterError => Commitment::AfterError(Failure::new(
                ErrorCode::BootedFromFirmwareB,
                "the new image's postinst ended with exit code 3",
            )),
        })
    }

    async fn test_and_commit(
        &self,
        written: Downloaded,
        cancel: &CancellationToken,
    ) -> Result<PostinstOutcome, InstallError> {
        let verified = written.verify(cancel).await?;
        verified.postinstall(cancel).await?.commit().await
    }

    /// What the original leaves after a success. Nothing here takes back that the other slot boots next.
    pub(super) fn remember_success(&self) {
        let version = self.running_version();
        let kept = self
            .prefs
            .set_number(Key::DeltaUpdateFailures, 0)
            .and_then(|()| self.prefs.set_number(Key::ResumedUpdateFailures, 0))
            .and_then(|()| self.prefs.set(Key::PreviousVersion, &version));
        warn(kept);
    }

    fn count_download(&self, attempt: &AttemptContext, complete: bool) {
        self.download_flowed(attempt);
        if complete {
            self.download_done(attempt);
            return;
        }
        if attempt.resumed {
            self.count(Key::ResumedUpdateFailures);
        }
    }

    fn count(&self, key: Key) {
        // A count that can't be read, or makes no sense, starts anew.
        let count = self.prefs.get_number(key).ok().flatten().unwrap_or(0);
        warn(self.prefs.set_number(key, count.max(0).saturating_add(1)));
    }
}

fn say_installed(attempt: &AttemptContext) {
    if let (Some(slot), Some(offer)) = (attempt.target, &attempt.offer) {
        tracing::info!(
            MESSAGE_ID = MessageId::Installed.id(),
            UPDATE_VERSION = offer.version,
            UPDATE_SLOT = %slot,
            "version {:?} is installed in {slot}: it boots next",
            offer.version
        );
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn warn(kept: Result<(), PrefsError>) {
    if let Err(error) = kept {
        tracing::warn!("{}", chain(&error));
    }
}
