//! The records behind a check: what the server is told of the node, and what its answer leaves.

use std::sync::Arc;

use payload_format::Sha256Digest;

use super::check_schedule::CheckSchedule;
use super::hold_off::CheckHoldOff;
use super::machine::Machine;
use super::offer_policy::OfferPolicy;
use super::omaha_session::read;
use super::slot_trial::SlotTrial;
use super::staged_slot::StagedSlot;
use super::update_history::UpdateHistory;
use crate::amounts::utc;
use crate::config::Config;
use crate::disk::Guard;
use crate::engine::{Checked, Failure};
use crate::host::{Identity, NodeMode, Unreadable};
use crate::journal::chain;
use crate::omaha::{
    Body, BootOutcome, CheckAnswer, CheckEvent, Deltas, Flags, MachineIdentity, NodeIdentity, Reply,
};
use crate::plan::InstallPlan;
use crate::policy::{Contact, Heartbeat, History, RunningSlot, StagedFate, contact, wanted_deltas};
use crate::status::{NoUpdate, Obstacle, Tally, Trigger, UnixTime};
use crate::store::record::RecordError;
use crate::store::{Key, PrefsError};

/// What checks read and write on this machine.
pub(super) struct CheckRecords {
    pub(super) machine: Arc<Machine>,
    pub(super) history: Arc<UpdateHistory>,
    pub(super) hold_off: Arc<CheckHoldOff>,
    pub(super) trial: Arc<SlotTrial>,
    pub(super) offers: Arc<OfferPolicy>,
    pub(super) schedule: Arc<CheckSchedule>,
    pub(super) staged: Arc<StagedSlot>,
}

/// The sender of a request: its identity, and which deltas it can apply.
pub(super) struct Requester {
    pub(super) identity: NodeIdentity,
    pub(super) deltas: Deltas,
}

impl CheckRecords {
    pub(super) fn config(&self) -> Result<Config, Unreadable> {
        self.machine.config()
    }

    /// The configuration, and SHA-256 of the payload that waits for the reboot if one does.
    pub(super) fn config_and_waiting(&self) -> (Result<Config, Unreadable>, Option<Sha256Digest>) {
        (self.machine.config(), self.history.waiting_payload())
    }

    /// What became of the last update, and the configuration it is told under.
    pub(super) fn check_event(&self) -> Result<(Config, CheckEvent), Failure> {
        let config = self.machine.config()?;
        self.machine.host().mode()?;
        let previous = self.machine.recall(Key::PreviousVersion);
        let history = self.history.read();
        let running = self.history.running();
        let arrival = if history.is_unreported() {
            BootOutcome::RolledBack
        } else if running.is_some_and(|slot| history.was_updated(&slot)) {
            BootOutcome::Updated
        } else {
            BootOutcome::Stayed
        };
        let event = CheckEvent::from_pref(previous.as_deref(), &config.version, arrival);
        Ok((config, event))
    }

    /// What is said to the server now.
    pub(super) fn contact(&self, trigger: Trigger, event: CheckEvent) -> Contact {
        let is_on_trial = self.trial.not_marked().is_some();
        contact(trigger, event, is_on_trial, self.hold_off.rest())
    }

    /// Fails where the answer of a check could not be kept.
    pub(super) fn require_writable(&self) -> Result<(), PrefsError> {
        self.machine.prefs().require_writable()
    }

    /// What the server is told instead of a check, and why it is not asked.
    pub(super) fn heartbeat(&self, heartbeat: Heartbeat) -> (Body, NoUpdate) {
        let because = |kind, reason: String, until: Option<UnixTime>| NoUpdate {
            kind,
            reason,
            until: until.map(|until| until.0),
        };
        match heartbeat {
            Heartbeat::OnTrial(event) => {
                let why = self.trial.not_marked().unwrap_or_default();
                let reason = format!("the running slot is on trial: {why}");
                let body = event.map_or(Body::Ping, Body::PingWithEvent);
                (body, because(Obstacle::OnTrial, reason, None))
            }
            Heartbeat::BackOff(event, until) => {
                let reason = format!(
                    "the payload that was offered was tried before; the server is not asked until {}",
                    utc(until.0)
                );
                (
                    Body::PingWithEvent(event),
                    because(Obstacle::Backoff, reason, Some(until)),
                )
            }
            Heartbeat::Quiet(until) => {
                let history = self.history.read();
                let blocked = history.blocked_payloads().iter().last();
                let version = blocked.map_or("", |blocked| blocked.version.as_str());
                let cause = blocked.map_or("", |blocked| blocked.cause.as_str());
                let reason = format!(
                    "this machine rolled back from version {version:?} ({cause}); the server is not asked by itself until \
                     {}, so that what it granted times out",
                    utc(until.0)
                );
                (Body::Ping, because(Obstacle::RolledBack, reason, Some(until)))
            }
        }
    }

    /// Whether the slot runs that a reboot has activated, and the server doesn't know yet.
    pub(super) fn is_activated_by_reboot(&self) -> bool {
        matches!(self.staged.look(), Ok(Some((_, StagedFate::Runs))))
    }

    /// Whether the server was told of a failure of that update: it hears of no success.
    ///
    /// # Errors
    /// The record can't be read now.
    pub(super) fn is_told_as_failed(&self) -> Result<bool, RecordError> {
        self.staged.is_told_as_failed()
    }

    /// The server was told, or could not be.
    pub(super) fn end_activation(&self) {
        if self.staged.note_activated() {
            self.history.count(Tally::activated);
        }
        self.staged.forget();
    }

    /// The outcome of the last update was told.
    pub(super) fn forget_previous_version(&self) -> Result<(), PrefsError> {
        self.machine.prefs().set(Key::PreviousVersion, "")
    }

    /// A check was answered: keeps the answer, and asks policy about an offer.
    ///
    /// Order of writes, and what a cut between leaves behind:
    /// 1. `previous-version` emptied: the news was told, and what `full-response` holds is of an
    ///    earlier check, which postinst sees by its age;
    /// 2. `full-response` written: postinst may use it;
    /// 3. a rollback counts as reported: before this it is reported once more.
    pub(super) fn answered(
        &self,
        config: &Config,
        reply: &Reply,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        tracing::info!("Omaha request response: {}", String::from_utf8_lossy(&reply.body));
        self.forget_previous_version()?;
        self.machine.prefs().set_full_response(&reply.body)?;
        self.history.change(History::reported)?;
        let answer = self.read_answer(reply)?;
        self.hold_off.end();
        match answer {
            CheckAnswer::NoUpdate => Ok(Checked::NoUpdate),
            CheckAnswer::Offer(offer) => self.offers.consider(config, offer, trigger),
        }
    }

    /// The payload that waits is what the server should still offer. `full-response` is its own,
    /// until another offer is taken.
    pub(super) fn answered_beside(
        &self,
        config: &Config,
        reply: &Reply,
        waiting: &Sha256Digest,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        match self.read_answer(reply)? {
            CheckAnswer::Offer(offer) if offer.sha256 != *waiting => {
                let checked = self.offers.consider(config, offer, trigger)?;
                tracing::info!("Omaha request response: {}", String::from_utf8_lossy(&reply.body));
                self.machine.prefs().set_full_response(&reply.body)?;
                Ok(checked)
            }
            CheckAnswer::Offer(_) | CheckAnswer::NoUpdate => Ok(Checked::NoUpdate),
        }
    }

    fn read_answer(&self, reply: &Reply) -> Result<CheckAnswer, Failure> {
        let response = read(reply)?;
        self.schedule.answered(response.poll_interval);
        Ok(response.answer)
    }

    /// A preview has told the server of `event`. A server that was told of a rollback twice would
    /// stop a roll-out that was resumed in between. `full-response` stays: an attempt may have
    /// begun meanwhile.
    pub(super) fn reported_by_preview(&self, event: &CheckEvent) {
        let is_news = *event != CheckEvent::NothingNew;
        // An attempt that has ended meanwhile makes other news.
        if !is_news || !self.check_event().is_ok_and(|(_, now)| now == *event) {
            return;
        }
        let noted = self.forget_previous_version().map_err(Failure::from);
        let noted = noted.and_then(|()| {
            let reported = self.history.change(History::reported);
            reported.map_err(Failure::from)
        });
        if let Err(failure) = noted {
            tracing::warn!("the next check tells the same news again: {}", failure.reason());
        }
    }

    /// The node as the server knows it. Remembers the first version ever seen on this machine.
    pub(super) fn requester(&self, config: &Config) -> Result<Requester, Unreadable> {
        let (host, aleph) = (self.machine.host().identity(), self.aleph(&config.version));
        let identity = identity(config, host?, aleph);
        Ok(Requester {
            identity,
            deltas: self.deltas(),
        })
    }

    /// The same; remembers nothing.
    pub(super) fn requester_as_known(&self, config: &Config) -> Result<Requester, Unreadable> {
        let host = self.machine.host().identity();
        let deltas = self.deltas();
        let aleph = self.machine.recall(Key::AlephVersion);
        let aleph = aleph.filter(|aleph| !aleph.is_empty());
        let identity = identity(config, host?, aleph.unwrap_or_else(|| config.version.clone()));
        Ok(Requester { identity, deltas })
    }

    /// The first version ever seen on this machine: this one, if none was seen before. One that
    /// can't be read counts as forgotten, and is left where it is. That it can't be kept is no
    /// reason to tell the server nothing.
    fn aleph(&self, version: &str) -> String {
        let prefs = self.machine.prefs();
        let kept = match prefs.get(Key::AlephVersion) {
            Ok(Some(aleph)) if !aleph.is_empty() => return aleph,
            Ok(_) => prefs.set(Key::AlephVersion, version),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!("the first version counts as forgotten: {}", chain(&error));
        }
        version.to_owned()
    }

    /// Whether a delta would do.
    fn deltas(&self) -> Deltas {
        // What can't be read counts as never written.
        let failures = self.machine.prefs().get_number(Key::DeltaUpdateFailures);
        let failures = failures.ok().flatten();
        let slot = self.history.running();
        let is_guarded = || {
            self.machine
                .disk()
                .is_ok_and(|disk| disk.guard() == Guard::Verity)
        };
        let running = if slot.is_some_and(|slot| self.history.read().is_filled(&slot)) || is_guarded() {
            RunningSlot::Intact
        } else {
            RunningSlot::Unknown
        };
        wanted_deltas(running, failures.unwrap_or(0))
    }

    /// What servers know of a node by the code of a failure.
    pub(super) fn flags(&self, has_public_server: bool, resumed: bool) -> Flags {
        let mut flags = Flags::NONE;
        if !has_public_server {
            flags |= Flags::PRIVATE_SERVER;
        }
        // If the mode isn't known, the server isn't asked; events of an attempt under way lack the
        // flag then.
        if matches!(self.machine.host().mode(), Ok(NodeMode::Developer)) {
            flags |= Flags::DEV_IMAGE;
        }
        if resumed {
            flags |= Flags::RESUMED;
        }
        flags
    }
}

fn identity(config: &Config, host: Identity, aleph_version: String) -> NodeIdentity {
    let machine = MachineIdentity {
        boot_id: host.boot_id,
        machine_id: host.machine_id,
        machine: host.machine,
        aleph_version,
    };
    config.identity(&machine)
}
