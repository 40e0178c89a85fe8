//! Whether the server is asked at all: a grant that can't be followed is not asked for, and one that must time out is not
//! renewed.

use std::time::{Duration, Instant};

use super::Node;
use super::conversation::url;
use crate::config::Config;
use crate::engine::{AttemptContext, Checked, Failure};
use crate::journal::chain;
use crate::omaha::{Body, BootOutcome, CheckEvent, Retries};
use crate::plan::InstallPlan;
use crate::policy::{Contact, GRANT_TIMEOUT, Heartbeat, History, HoldOff, HoldOffCause, contact};
use crate::status::{NoUpdate, Obstacle, Trigger, UnixTime};
use crate::store::Key;

impl Node {
    /// What became of the last update, and the configuration it is told under.
    pub(super) fn news(&self) -> Result<(Config, CheckEvent), Failure> {
        let config = self.config()?;
        self.host().mode()?;
        let previous = self.recall(Key::PreviousVersion);
        let history = self.history();
        let arrival = if history.is_unreported() {
            BootOutcome::RolledBack
        } else if self.memory(|memory| {
            memory
                .running
                .as_deref()
                .is_some_and(|slot| history.was_updated(slot))
        }) {
            BootOutcome::Updated
        } else {
            BootOutcome::Stayed
        };
        let event = CheckEvent::from_pref(previous.as_deref(), &config.version, arrival);
        Ok((config, event))
    }

    /// What is said to the server now. Blocks.
    pub(super) fn contact(&self, trigger: Trigger, news: CheckEvent) -> Contact {
        let is_on_trial = self.memory(|memory| memory.on_trial.is_some());
        contact(trigger, news, is_on_trial, self.rest_of_hold_off())
    }

    /// A record that can't be written is still read. A clock that was set meanwhile makes nothing shorter for as long as
    /// this process lives.
    fn rest_of_hold_off(&self) -> Option<HoldOff> {
        let now = self.unix_time();
        let kept = self
            .change_history(|history| history.look_at_hold_off(now))
            .unwrap_or_else(|error| {
                tracing::warn!("how long nobody is asked is not kept: {}", chain(&error));
                self.history().look_at_hold_off(now)
            });
        kept.or_else(|| {
            let quiet_until = self.memory(|memory| memory.quiet_until)?;
            let rest = quiet_until.saturating_duration_since(Instant::now()).as_secs();
            self.history().blamed().iter().next()?;
            let until = now.plus_seconds(i64::try_from(rest).ok().filter(|&rest| rest > 0)?);
            Some(HoldOff {
                cause: HoldOffCause::BlockedPayload,
                until,
            })
        })
    }

    /// Tells the server what may be told, and asks nothing.
    pub(super) async fn stay_in_touch(
        &self,
        config: &Config,
        trigger: Trigger,
        heartbeat: Heartbeat,
    ) -> Result<Checked<InstallPlan>, Failure> {
        // Where there is no server, that is the reason.
        url(config)?;
        let (body, no_update) = self.blocking(move |node| node.heartbeat(heartbeat)).await;
        tracing::info!("the server is not asked: {}", no_update.reason);
        let told = matches!(
            body,
            Body::PingWithEvent(CheckEvent::UpdatedFrom(_) | CheckEvent::FirstCheck)
        );
        match self.post(config, trigger, body, Retries::None).await {
            // Told once more the next time: a failure would be reported to the server, and one of a node that was granted
            // an update lets the others go on.
            Ok(_) if told => {
                let emptied = self
                    .blocking(|node| node.prefs.set(Key::PreviousVersion, ""))
                    .await;
                if let Err(error) = emptied {
                    tracing::warn!("the server will be told once more: {}", chain(&error));
                }
            }
            Ok(_) => {}
            Err(failure) => tracing::warn!("the ping failed: {}", failure.reason()),
        }
        Ok(Checked::NotAsked(no_update))
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> (Body, NoUpdate) {
        let because = |kind, reason: String, until: Option<UnixTime>| NoUpdate {
            kind,
            reason,
            until: until.map(|until| until.0),
        };
        match heartbeat {
            Heartbeat::OnTrial(event) => {
                let why = self.memory(|memory| memory.on_trial.clone()).unwrap_or_default();
                let reason = format!("the running slot is on trial: {why}");
                let body = event.map_or(Body::Ping, Body::PingWithEvent);
                (body, because(Obstacle::OnTrial, reason, None))
            }
            Heartbeat::BackOff(event, until) => {
                let reason = format!(
                    "the payload that was offered failed before; nobody is asked until {} (Unix time)",
                    until.0
                );
                (
                    Body::PingWithEvent(event),
                    because(Obstacle::Backoff, reason, Some(until)),
                )
            }
            Heartbeat::Quiet(until) => {
                let history = self.history();
                let blame = history.blamed().iter().last();
                let version = blame.map_or("", |blame| blame.version.as_str());
                let cause = blame.map_or("", |blame| blame.cause.as_str());
                let reason = format!(
                    "this machine rolled back from version {version:?} ({cause}); the server is not asked by itself until \
                     {} (Unix time), so that what it granted times out",
                    until.0
                );
                (Body::Ping, because(Obstacle::RolledBack, reason, Some(until)))
            }
        }
    }

    /// The server has answered a check: what it granted before is over, or granted anew. Blocks.
    pub(super) fn end_hold_off(&self) {
        self.memory(|memory| memory.quiet_until = None);
        if let Err(error) = self.change_history(History::end_hold_off) {
            tracing::warn!(
                "how long nobody was to be asked is not forgotten: {}",
                chain(&error)
            );
        }
    }

    /// `attempt`, or its check, has ended so: what of that keeps the node from asking. Blocks.
    pub(super) fn hold_off_after(&self, attempt: &AttemptContext, obstacle: Obstacle, until: Option<i64>) {
        let now = self.unix_time();
        let hold_off = match (obstacle, until) {
            // Without anything to blame that is soon forgotten.
            (Obstacle::RolledBack | Obstacle::OnTrial, _) => {
                let quiet = Duration::from_secs(GRANT_TIMEOUT.unsigned_abs());
                self.memory(|memory| memory.quiet_until = Instant::now().checked_add(quiet));
                Some(HoldOff::after_blame(now))
            }
            (Obstacle::Backoff, Some(until)) => Some(HoldOff {
                cause: HoldOffCause::BackOff,
                until: UnixTime(until),
            }),
            (Obstacle::Failed, _) => self.back_off_of_offer(attempt, now),
            _ => None,
        };
        let Some(hold_off) = hold_off else { return };
        if let Err(error) = self.change_history(|history| history.hold_off(hold_off)) {
            tracing::error!(
                "how long nobody is to be asked is not remembered: {}",
                chain(&error)
            );
        }
    }

    /// The wait that `attempt` has brought upon its offer, unless that waits for the reboot all the same.
    fn back_off_of_offer(&self, attempt: &AttemptContext, now: UnixTime) -> Option<HoldOff> {
        let offer = attempt.blamable_offer()?;
        let mode = self.host().mode().ok()?;
        let until = self.payload_state().backoff(offer, mode, now)?;
        self.waiting_payload().is_none().then_some(HoldOff {
            cause: HoldOffCause::BackOff,
            until,
        })
    }

    pub(super) async fn note_failure(&self, attempt: &AttemptContext, failure: &Failure) {
        let context = attempt.clone();
        let (code, obstacle, until) = (failure.code, failure.obstacle, failure.until);
        self.blocking(move |node| {
            node.attempt_failed(&context, code);
            node.hold_off_after(&context, obstacle, until);
        })
        .await;
        if matches!(obstacle, Obstacle::Failed | Obstacle::Refused) {
            self.count_in(move |tally, now| tally.failed(code.number(), now))
                .await;
        }
    }
}
