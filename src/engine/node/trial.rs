//! The running slot on trial: watched, marked good, or left for the other one.
//!
//! ```text
//!   start ── not on trial ─▶ the settling time alone ─────▶ Passed ─▶ marked good
//!     │ on trial                                              ▲
//!     └─ health::watch ──┬────────────────────────────────────┘
//!                        └─ Failed ─▶ fall back: cause recorded ─▶ no try left ─▶ reboot
//! ```

use std::fmt;
use std::time::Duration;

use super::{Node, slots};
use crate::config::HealthSettings;
use crate::disk::{DiskError, GivenUp, SlotAttributes, SlotDisk, SlotName};
use crate::engine::Fallback;
use crate::health::{self, Cause, NotHealthyYet, Requirement, TrialEnd, Unknown};
use crate::journal::MessageId;
use crate::journal::chain;
use crate::reboot::reboot_now;
use crate::systemd::Systemd;

/// Where the trial of the running slot stands, as far as it stands in the way of marking it good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum TrialState {
    /// Nobody has looked yet.
    #[default]
    Begun,
    /// Not healthy yet, and why.
    Waiting(NotHealthyYet),
    /// Healthy for long enough.
    Passed,
    /// To be left for the other slot, and why.
    GivenUp(Cause),
}

impl TrialState {
    /// Why the slot can't be marked good now, if something requires more of it than to run.
    fn obstacle(&self) -> Option<String> {
        match self {
            Self::Begun => Some("its health was not looked at yet".to_owned()),
            Self::Waiting(pending) => Some(pending.summary()),
            Self::GivenUp(cause) => Some(cause.summary()),
            Self::Passed => None,
        }
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun => f.write_str("begun"),
            Self::Waiting(pending) => pending.fmt(f),
            Self::Passed => f.write_str("passed"),
            Self::GivenUp(cause) => write!(f, "given up: {cause}"),
        }
    }
}

impl Node {
    pub(super) async fn watch_health(&self) -> TrialEnd {
        let was_given_up = self.memory(|memory| matches!(memory.standing, TrialState::GivenUp(_)));
        let required = || {
            self.blocking(move |node| {
                let (mut settings, required) = node.required()?;
                settings.deadline = settings.deadline.filter(|_| !was_given_up);
                Ok((settings, required))
            })
        };
        // For what the journal is told of it.
        let _ = self.blocking(Self::config).await;
        if self.blocking(Self::is_on_trial).await {
            let stand = |pending: &NotHealthyYet| {
                if matches!(pending, NotHealthyYet::Held(_)) {
                    self.put_off_deadline();
                }
                self.stand(TrialState::Waiting(pending.clone()));
            };
            let already = self.blocking(Self::watched_already).await;
            let end = health::watch(&Systemd, required, already, stand).await;
            if let TrialEnd::Failed(cause) = end {
                self.say_unhealthy(&cause).await;
                self.stand(TrialState::GivenUp(cause.clone()));
                return TrialEnd::Failed(cause);
            }
        } else {
            let settings = self.blocking(Self::health_settings).await;
            let settle = settings.map_or(HealthSettings::SETTLE, |settings| settings.settle);
            tokio::time::sleep(settle).await;
        }
        self.stand(TrialState::Passed);
        TrialEnd::Passed
    }

    async fn say_unhealthy(&self, cause: &Cause) {
        let disk = self.blocking(|node| slots::open(&node.settings)).await;
        let slot = disk.ok().map(|disk| disk.running().to_string());
        tracing::error!(
            MESSAGE_ID = MessageId::DeadlinePassed.id(),
            UPDATE_SLOT = slot,
            "the running slot is not healthy in time: {cause}"
        );
    }

    /// Counted from the first daemon of this boot: one that dies again and again must not put the deadline off.
    fn watched_already(&self) -> Duration {
        self.host().since_first_start().unwrap_or_else(|error| {
            tracing::warn!("the deadline counts from now: {}", chain(&error));
            Duration::ZERO
        })
    }

    /// Whoever makes known what is required gets the whole time, whichever daemon looks then.
    fn put_off_deadline(&self) {
        if let Err(error) = self.host().start_anew() {
            tracing::warn!(
                "a later daemon's deadline counts from this boot's first: {}",
                chain(&error)
            );
        }
    }

    fn stand(&self, standing: TrialState) {
        self.memory(|memory| {
            if memory.standing != standing {
                tracing::info!("trial of the running slot: {standing}");
                memory.standing = standing;
            }
        });
    }

    /// A disk that can't be read may hold a slot on trial: its health is watched. Marking it good will say what is wrong
    /// with the disk, unless it can be read by then.
    fn is_on_trial(&self) -> bool {
        let attributes = slots::open(&self.settings).and_then(|disk| disk.attributes(disk.running()));
        !attributes.is_ok_and(SlotAttributes::is_successful)
    }

    /// Makes the running slot good, or says why it stays on trial. A slot that was good before this boot needs
    /// no health: it is what others fall back to. Blocks.
    pub(super) fn mark_running_good(&self) -> Result<(), String> {
        let disk = slots::open(&self.settings).map_err(|error| chain(&error))?;
        let running = disk.attributes(disk.running()).map_err(|error| chain(&error))?;
        if !running.is_successful()
            && let Some(obstacle) = self.obstacle()
        {
            return Err(obstacle);
        }
        self.put_first(&disk)
    }

    /// The same although it may not be healthy, because somebody wants it. Blocks.
    pub(super) fn mark_running_anyway(&self) -> Result<(), String> {
        let disk = slots::open(&self.settings).map_err(|error| chain(&error))?;
        tracing::warn!("the running slot is marked good by order");
        self.put_first(&disk)
    }

    fn put_first(&self, disk: &SlotDisk) -> Result<(), String> {
        slots::mark_good(disk).map_err(|error| chain(&error))?;
        self.keep_running(disk);
        Ok(())
    }

    /// Why the running slot would not be marked good now if it isn't yet. Blocks.
    pub(super) fn obstacle(&self) -> Option<String> {
        let standing = self.memory(|memory| memory.standing.clone());
        if matches!(standing, TrialState::GivenUp(_) | TrialState::Passed) {
            return standing.obstacle();
        }
        match self.requirements() {
            Ok(required) if required.is_empty() => None,
            Ok(_) => standing.obstacle(),
            Err(unknown) => Some(unknown.to_string()),
        }
    }

    /// What is required of the running slot now. Blocks.
    pub(super) fn requirements(&self) -> Result<Vec<Requirement>, Unknown> {
        self.required().map(|(_, required)| required)
    }

    /// The same, and under which settings. Blocks.
    fn required(&self) -> Result<(HealthSettings, Vec<Requirement>), Unknown> {
        let settings = self.health_settings()?;
        let required = health::requirements(&settings, self.host())?;
        Ok((settings, required))
    }

    /// Order of writes, and what a cut between leaves behind:
    /// 1. the cause: the next start, in whichever slot, knows that this one was given up;
    /// 2. the last try (it is spent already, unless somebody gave the slot several): the loader takes the
    ///    other slot. Before this the slot might be tried once more, and would be watched anew;
    /// 3. the reboot.
    pub(super) async fn leave_slot(&self, cause: Cause) -> Fallback {
        match self.blocking(move |node| node.give_up(&cause)).await {
            Ok(Some(fallback)) => fallback,
            Ok(None) => self.reboot().await,
            Err(error) => Fallback::Stays(format!("the slots can't be read or written: {}", chain(&error))),
        }
    }

    /// Nothing, if the other slot boots next.
    fn give_up(&self, cause: &Cause) -> Result<Option<Fallback>, DiskError> {
        let disk = slots::open(&self.settings)?;
        if disk.attributes(disk.running())?.is_successful() {
            return Ok(Some(Fallback::GoodAfterAll));
        }
        if let Some(reason) = self.nowhere_to_go(&disk)? {
            return Ok(Some(Fallback::Stays(format!(
                "{}; it stays, since {reason}",
                cause.summary()
            ))));
        }
        self.remember_given_up(&disk, cause);
        Ok(match disk.give_up()? {
            GivenUp::NoTryLeft => None,
            GivenUp::IsGood => {
                self.keep_running(&disk);
                Some(Fallback::GoodAfterAll)
            }
        })
    }

    fn nowhere_to_go(&self, disk: &SlotDisk) -> Result<Option<String>, DiskError> {
        let other = !disk.running();
        let attributes = disk.attributes(other)?;
        if !attributes.is_good() {
            return Ok(Some(format!("{other} is not good ({attributes})")));
        }
        Ok(self.missing_kernel(other))
    }

    /// Why the kernel of `slot` can't be relied on, if it can't.
    pub(super) fn missing_kernel(&self, slot: SlotName) -> Option<String> {
        let found = self.kernel(slot).and_then(|kernel| {
            let found = self.host().look_at(&kernel)?;
            let is_there = found.is_some_and(|file| file.is_file() && file.len() > 0);
            Ok((!is_there).then(|| format!("{slot} has no kernel at {kernel}")))
        });
        found.unwrap_or_else(|error| Some(chain(&error)))
    }

    async fn reboot(&self) -> Fallback {
        tracing::error!("rebooting into the other slot");
        match reboot_now(self.host()).await {
            Ok(()) => Fallback::Rebooting,
            Err(error) => Fallback::Stays(format!(
                "the other slot boots next, but the reboot can't be asked for: {error}"
            )),
        }
    }
}
