//! The update engine on the bus: read anew after every change, and after each connection.
//!
//! ```text
//!  connect ─▶ subscribe ─▶ read ◀──────────────┐
//!     ▲                     │ a change, a new owner of the name
//!     │ the bus has gone    ▼
//!     └──────────────── wait for signals
//! ```
//!
//! What must hold: subscriptions stand before the first read, so that nothing between the two is missed. Signals are taken
//! off their queues at any time, also while an answer is waited for: the connection is not read on while a queue is full, and
//! everybody on the bus can send signals.

use std::collections::HashMap;
use std::num::NonZero;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};
use zbus::message::Type;
use zbus::names::{BusName, OwnedUniqueName};
use zbus::wire::Variant;
use zbus::{Connection, MatchRule, Message, MessageStream};

use super::event::{EngineView, InstalledOutcome, ManagerEvent, NodeView, SlotHealth};
use super::state::{FailedVersion, Reason, WantedReboot};
use crate::bus::{ENGINE_INTERFACE, ENGINE_PATH, INTERFACE, SERVICE, StatusFields};
use crate::journal::chain;
use crate::status::{AttemptReport, AttemptState, EngineState, Operation, Overview};

/// Between two tries to reach a bus that has gone.
const RECONNECT: Duration = Duration::from_secs(5);
/// Between two warnings of the same kind.
const COMPLAINT: Duration = Duration::from_secs(60);
/// Signals that may wait.
const QUEUE: usize = 64;
/// Longest answer of the engine.
const ANSWER: Duration = Duration::from_secs(25);

/// A connection to the system's bus, on which calls don't wait for ever.
///
/// # Errors
/// If there is no bus.
pub(super) async fn connect() -> zbus::Result<Connection> {
    zbus::connection::Builder::system()
        .method_timeout(ANSWER)
        .build()
        .await
}

/// Reads the engine at `connection`.
pub(super) async fn read(connection: &Connection) -> EngineView {
    let read = async {
        let overview = Overview::read(connection).await?;
        let attempts = AttemptReport::read_all(connection).await?;
        Ok::<_, zbus::Error>(view(&overview, &attempts))
    };
    match read.await {
        Ok(view) => EngineView::Known(view),
        Err(error) => EngineView::Silent(error.to_string()),
    }
}

/// Characters of a version or a cause that are kept: they go to the record and to the lock's server.
const LONGEST: usize = 1000;

/// What the engine says, as far as a reboot is concerned.
fn view(overview: &Overview, attempts: &[AttemptReport]) -> NodeView {
    let running = overview.slots.iter().find(|slot| slot.running);
    let other = overview.slots.iter().find(|slot| !slot.running);
    let reason = match overview.state {
        // The reboot that it orders activates what is staged.
        EngineState::RebootNeeded | EngineState::StagedForReboot => Some(Reason::Update),
        EngineState::RollbackNeeded => Some(Reason::Rollback),
        _ => None,
    };
    let health = match running {
        _ if !overview.trial.is_empty() => SlotHealth::NotYet(trial(overview)),
        None => SlotHealth::NotYet("which slot runs can't be told".to_owned()),
        Some(slot) if !slot.successful => SlotHealth::NotYet("it is not marked good".to_owned()),
        Some(_) => SlotHealth::Good,
    };
    let installed = attempts.iter().rev().find_map(|attempt| {
        let outcome = match attempt.outcome {
            AttemptState::Withdrawn => InstalledOutcome::Withdrawn,
            AttemptState::RolledBack => InstalledOutcome::RolledBack,
            AttemptState::Waiting | AttemptState::OnTrial | AttemptState::Kept => InstalledOutcome::Other,
            // Nothing came of it yet, and nothing of the one before is made good by it.
            AttemptState::Staged
            | AttemptState::UnderWay
            | AttemptState::Failed
            | AttemptState::Interrupted
            | AttemptState::Unknown => return None,
        };
        Some((outcome, attempt))
    });
    let remembered = overview.rollback.0.as_ref().map(|rollback| FailedVersion {
        version: shortened(&rollback.version),
        cause: shortened(&rollback.cause),
    });
    let left = installed.and_then(|(outcome, attempt)| failed_attempt(outcome, attempt));
    NodeView {
        waiting: reason.map(|reason| WantedReboot {
            reason,
            version: shortened(&overview.waiting_version),
            slot: other.map(|slot| slot.name.clone()),
        }),
        is_resting: matches!(
            overview.state,
            EngineState::Idle
                | EngineState::RebootNeeded
                | EngineState::RollbackNeeded
                | EngineState::Staged
                | EngineState::StagedForReboot
        ),
        slot: running.map(|slot| slot.name.clone()),
        version: shortened(&overview.running_version),
        health,
        last_outcome: installed.map(|(outcome, _)| outcome),
        rollback: failure(remembered, left),
        installed: overview.installed_updates,
        is_staged: attempts
            .iter()
            .any(|attempt| attempt.outcome == AttemptState::Staged),
    }
}

/// Why the slot isn't good yet, and whether that can go on for ever: then so does the lock.
fn trial(overview: &Overview) -> String {
    // Before it has looked at its node it knows of no slots, and of no deadline either.
    match overview.trial_deadline {
        Some(0) if !overview.slots.is_empty() => format!("{}; no deadline ends the trial", overview.trial),
        _ => overview.trial.clone(),
    }
}

/// The failure of the update that was installed last. The engine blames no version that was only interrupted, as by a
/// power cut, and remembers no rollback from it: the node has left it all the same.
fn failed_attempt(outcome: InstalledOutcome, attempt: &AttemptReport) -> Option<FailedVersion> {
    let cause = attempt.reason.as_deref().unwrap_or("the node has left it");
    (outcome == InstalledOutcome::RolledBack).then(|| FailedVersion {
        version: shortened(&attempt.to),
        cause: shortened(cause),
    })
}

/// What has failed last, of the rollback that the engine remembers and of the update that the node has left. If both are of
/// one version, the cause that is remembered: which attempt it belongs to the engine tells by times, and after a reboot the
/// clock may stand behind what it was set to before.
fn failure(remembered: Option<FailedVersion>, left: Option<FailedVersion>) -> Option<FailedVersion> {
    match (remembered, left) {
        (Some(remembered), Some(left)) if remembered.version == left.version => Some(remembered),
        (remembered, left) => left.or(remembered),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Tells `events` what the engine says whenever it changes, and of root's signals; ends when nobody listens.
pub async fn watch(events: mpsc::Sender<ManagerEvent>) {
    while !events.is_closed() {
        let why = match connect().await {
            Ok(connection) => tokio::select! {
                ended = follow(&connection, &events) => ended.err().map(|error| error.to_string()),
                () = connection.closed() => None,
            }
            .unwrap_or_else(|| "the message bus has gone away".to_owned()),
            Err(error) => format!("no message bus: {error}"),
        };
        let silent = ManagerEvent::Engine(EngineView::Silent(why));
        if events.send(silent).await.is_err() {
            return;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Until nobody listens, or a stream ends.
async fn follow(connection: &Connection, events: &mpsc::Sender<ManagerEvent>) -> zbus::Result<()> {
    let signals = Signals::subscribe(connection).await?;
    let bus = DBusProxy::new(connection).await?;
    let changed = Notify::new();
    let (sender, requests) = mpsc::channel(QUEUE);
    tokio::select! {
        ended = signals.drain(&changed, &sender) => ended,
        () = tell_views(connection, &changed, events) => Ok(()),
        () = tell_requests(&bus, requests, events) => Ok(()),
    }
}

/// Tells what the engine says, now and after each change, until nobody listens.
async fn tell_views(connection: &Connection, changed: &Notify, events: &mpsc::Sender<ManagerEvent>) {
    let mut told = None;
    loop {
        let view = read(connection).await;
        if told.as_ref() != Some(&view) {
            told = Some(view.clone());
            if events.send(ManagerEvent::Engine(view)).await.is_err() {
                return;
            }
        }
        changed.notified().await;
    }
}

/// Tells of root's requests, until nobody listens.
async fn tell_requests(
    bus: &DBusProxy<'_>,
    mut requests: mpsc::Receiver<OwnedUniqueName>,
    events: &mpsc::Sender<ManagerEvent>,
) {
    let mut complaints = Complaints::default();
    while let Some(sender) = requests.recv().await {
        match is_request(bus, &sender).await {
            Ok(false) => {}
            Ok(true) => {
                if events.send(ManagerEvent::Requested).await.is_err() {
                    return;
                }
            }
            Err(ignored) => complaints.warn(&chain(&ignored)),
        }
    }
}

/// Warnings that others can cause: one a minute.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    fn warn(&mut self, why: &str) {
        if self.last.is_none_or(|last| last.elapsed() >= COMPLAINT) {
            self.last = Some(Instant::now());
            tracing::warn!("{why}");
        }
    }
}

/// The signals that matter.
struct Signals {
    changes: MessageStream,
    statuses: MessageStream,
    owners: NameOwnerChangedStream,
}

impl Signals {
    async fn subscribe(connection: &Connection) -> zbus::Result<Self> {
        let changes = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SERVICE)
            .path(ENGINE_PATH)
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .build()?;
        // In anybody's name, as locksmithctl sends it.
        let statuses = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(INTERFACE)
            .member("StatusUpdate")
            .build()?;
        let bus = DBusProxy::new(connection).await?;
        Ok(Self {
            changes: MessageStream::for_match_rule(changes, connection, NonZero::new(QUEUE)).await?,
            statuses: MessageStream::for_match_rule(statuses, connection, NonZero::new(QUEUE)).await?,
            owners: bus.receive_name_owner_changed_with_args(&[(0, SERVICE)]).await?,
        })
    }

    /// Takes them as they come, and waits for nothing else: `changed` if the engine may say something else, to `requests`
    /// the names of those who say that a reboot is needed. Drops these when too many wait. Ends with a stream.
    async fn drain(mut self, changed: &Notify, requests: &mpsc::Sender<OwnedUniqueName>) -> zbus::Result<()> {
        let ended = || zbus::Error::Failure("the signals have ended".to_owned());
        let mut complaints = Complaints::default();
        loop {
            tokio::select! {
                owner = self.owners.next() => {
                    owner.ok_or_else(ended)?;
                    changed.notify_one();
                }
                change = self.changes.next() => {
                    if matters(&change.ok_or_else(ended)??) {
                        changed.notify_one();
                    }
                }
                status = self.statuses.next() => {
                    let sender = needs_reboot(&status.ok_or_else(ended)??);
                    if sender.is_some_and(|sender| requests.try_send(sender).is_err()) {
                        complaints.warn("too many ask for a reboot at once: some are not heard");
                    }
                }
            }
        }
    }
}

/// The connection that says that a reboot is needed, if this is what `status` says.
fn needs_reboot(status: &Message) -> Option<OwnedUniqueName> {
    let (_, _, operation, _, _) = status.body().deserialize::<StatusFields>().ok()?;
    let header = status.header();
    let sender = header.sender()?;
    (operation == Operation::UpdatedNeedReboot.as_str()).then(|| sender.to_owned().into())
}

/// Why a demand for a reboot is ignored.
#[derive(Debug, thiserror::Error)]
enum IgnoredRequest {
    #[error("user {0} asks for a reboot, and is not root: ignored")]
    NotRoot(u32),
    #[error("somebody asks for a reboot, and has gone before it could be told who: ignored")]
    Gone(#[source] zbus::fdo::Error),
}

/// Whether `sender` is a connection of root that is not the engine's.
///
/// # Errors
/// [`IgnoredRequest`], of which it is to be heard.
async fn is_request(bus: &DBusProxy<'_>, sender: &OwnedUniqueName) -> Result<bool, IgnoredRequest> {
    let Ok(name) = BusName::try_from(SERVICE) else {
        return Ok(false);
    };
    if bus.get_name_owner(name).await.is_ok_and(|owner| owner == *sender) {
        return Ok(false);
    }
    // Where tests run as another user, that one stands in for root.
    let ours = nix::unistd::geteuid().as_raw();
    match bus.get_connection_unix_user(sender.as_ref().into()).await {
        Ok(user) if user == 0 || user == ours => Ok(true),
        Ok(user) => Err(IgnoredRequest::NotRoot(user)),
        Err(error) => Err(IgnoredRequest::Gone(error)),
    }
}

/// Whether a change is of anything that a reboot depends on: a download tells its progress every second.
fn matters(change: &Message) -> bool {
    const IDLE_TALK: [&str; 4] = ["Progress", "LastCheck", "NextCheck", "NoUpdate"];
    let body = change.body();
    let Ok((interface, changed, invalidated)) =
        body.deserialize::<(&str, HashMap<&str, Variant<'_>>, Vec<&str>)>()
    else {
        return true;
    };
    interface == ENGINE_INTERFACE
        && (!invalidated.is_empty() || changed.keys().any(|name| !IDLE_TALK.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(to: &str, outcome: AttemptState) -> AttemptReport {
        AttemptReport {
            to: to.to_owned(),
            outcome,
            ..AttemptReport::default()
        }
    }

    #[test]
    fn what_is_only_staged_makes_no_rollback_good() {
        let overview = Overview::default();
        let left = attempt("2", AttemptState::RolledBack);
        let view = view(&overview, &[left, attempt("3", AttemptState::Staged)]);
        assert_eq!(view.last_outcome, Some(InstalledOutcome::RolledBack));
        assert!(view.is_staged && !view.is_update_kept());
        assert_eq!(view.rollback.map(|failed| failed.version), Some("2".to_owned()));
    }

    #[test]
    fn the_cause_that_the_engine_remembers_counts_for_its_version() {
        let failed = |version: &str, cause: &str| {
            Some(FailedVersion {
                version: version.to_owned(),
                cause: cause.to_owned(),
            })
        };
        let (remembered, left) = (failed("2", "a unit failed"), failed("2", "went down"));
        assert_eq!(failure(remembered.clone(), left), remembered);
        assert_eq!(failure(remembered.clone(), None), remembered);
        let other = failed("3", "went down");
        assert_eq!(failure(remembered, other.clone()), other);
        assert_eq!(failure(None, other.clone()), other);
        assert_eq!(failure(None, None), None);
    }
}
