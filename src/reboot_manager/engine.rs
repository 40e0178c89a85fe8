//! The update engine on the bus: read anew after every change, and after each connection.
//!
//! ```text
//!  connect ─▶ subscribe ─▶ read ◀──────────────┐
//!     ▲                     │ a change, a new owner of the name
//!     │ the bus has gone    ▼
//!     └──────────────── wait for signals
//! ```
//!
//! What must hold: subscriptions stand before the first read, so that nothing between the two is missed.

use std::collections::HashMap;
use std::num::NonZero;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};
use zbus::message::Type;
use zbus::names::BusName;
use zbus::wire::Variant;
use zbus::{Connection, MatchRule, Message, MessageStream};

use super::event::{EngineView, Event, InstalledOutcome, NodeView, SlotHealth};
use super::state::{FailedVersion, Reason, WantedReboot};
use crate::bus::{ENGINE_INTERFACE, ENGINE_PATH, INTERFACE, SERVICE, StatusFields};
use crate::status::{AttemptReport, AttemptState, EngineState, Operation, Overview};

/// Between two tries to reach a bus that has gone.
const RECONNECT: Duration = Duration::from_secs(5);
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

/// What the engine says, as far as a reboot is concerned.
fn view(overview: &Overview, attempts: &[AttemptReport]) -> NodeView {
    let running = overview.slots.iter().find(|slot| slot.running);
    let other = overview.slots.iter().find(|slot| !slot.running);
    let reason = match overview.state {
        EngineState::RebootNeeded => Some(Reason::Update),
        EngineState::RollbackNeeded => Some(Reason::Rollback),
        _ => None,
    };
    let health = match running {
        _ if !overview.trial.is_empty() => SlotHealth::NotYet(overview.trial.clone()),
        None => SlotHealth::NotYet("which slot runs can't be told".to_owned()),
        Some(slot) if !slot.successful => SlotHealth::NotYet("it is not marked good".to_owned()),
        Some(_) => SlotHealth::Good,
    };
    let installed = attempts.iter().rev().find_map(|attempt| match attempt.outcome {
        AttemptState::Withdrawn => Some(InstalledOutcome::Withdrawn),
        AttemptState::RolledBack => Some(InstalledOutcome::RolledBack),
        AttemptState::Waiting | AttemptState::OnTrial | AttemptState::Kept => Some(InstalledOutcome::Other),
        AttemptState::UnderWay | AttemptState::Failed | AttemptState::Interrupted | AttemptState::Unknown => {
            None
        }
    });
    NodeView {
        waiting: reason.map(|reason| WantedReboot {
            reason,
            version: overview.waiting_version.clone(),
            slot: other.map(|slot| slot.name.clone()),
        }),
        is_resting: matches!(
            overview.state,
            EngineState::Idle | EngineState::RebootNeeded | EngineState::RollbackNeeded
        ),
        slot: running.map(|slot| slot.name.clone()),
        version: overview.running_version.clone(),
        health,
        last_outcome: installed,
        rollback: overview.rollback.0.as_ref().map(|rollback| FailedVersion {
            version: rollback.version.clone(),
            cause: rollback.cause.clone(),
        }),
    }
}

/// Tells `events` what the engine says whenever it changes, and of root's signals; ends when nobody listens.
pub async fn watch(events: mpsc::Sender<Event>) {
    while !events.is_closed() {
        let why = match connect().await {
            Ok(connection) => tokio::select! {
                ended = follow(&connection, &events) => ended.err().map(|error| error.to_string()),
                () = connection.closed() => None,
            }
            .unwrap_or_else(|| "the message bus has gone away".to_owned()),
            Err(error) => format!("no message bus: {error}"),
        };
        let silent = Event::Engine(EngineView::Silent(why));
        if events.send(silent).await.is_err() {
            return;
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Until nobody listens, or a stream ends.
async fn follow(connection: &Connection, events: &mpsc::Sender<Event>) -> zbus::Result<()> {
    let mut signals = Signals::subscribe(connection).await?;
    let mut told = None;
    loop {
        let view = read(connection).await;
        if told.as_ref() != Some(&view) {
            told = Some(view.clone());
            if events.send(Event::Engine(view)).await.is_err() {
                return Ok(());
            }
        }
        loop {
            match signals.next().await? {
                Signal::Changed => break,
                Signal::Requested if events.send(Event::Requested).await.is_err() => return Ok(()),
                Signal::Requested => {}
            }
        }
    }
}

/// What the bus tells.
enum Signal {
    /// The engine may say something else.
    Changed,
    /// Root asks for a reboot.
    Requested,
}

/// The signals that matter.
struct Signals {
    bus: DBusProxy<'static>,
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
            bus,
        })
    }

    async fn next(&mut self) -> zbus::Result<Signal> {
        let ended = || zbus::Error::Failure("the signals have ended".to_owned());
        loop {
            tokio::select! {
                owner = self.owners.next() => return owner.map(|_| Signal::Changed).ok_or_else(ended),
                change = self.changes.next() => {
                    if matters(&change.ok_or_else(ended)??) {
                        return Ok(Signal::Changed);
                    }
                }
                status = self.statuses.next() => {
                    let status = status.ok_or_else(ended)??;
                    if self.is_request(&status).await {
                        return Ok(Signal::Requested);
                    }
                }
            }
        }
    }

    /// Whether it says that a reboot is needed, and comes from a connection of root that is not the engine's.
    async fn is_request(&self, status: &Message) -> bool {
        let Ok((_, _, operation, _, _)) = status.body().deserialize::<StatusFields>() else {
            return false;
        };
        let header = status.header();
        let Some(sender) = header
            .sender()
            .filter(|_| operation == Operation::UpdatedNeedReboot.as_str())
        else {
            return false;
        };
        let Ok(name) = BusName::try_from(SERVICE) else {
            return false;
        };
        if self
            .bus
            .get_name_owner(name)
            .await
            .is_ok_and(|owner| owner == *sender)
        {
            return false;
        }
        // Where tests run as another user, that one stands in for root.
        let ours = nix::unistd::geteuid().as_raw();
        match self.bus.get_connection_unix_user(sender.to_owned().into()).await {
            Ok(user) if user == 0 || user == ours => true,
            Ok(user) => {
                tracing::warn!("user {user} asks for a reboot, and is not root: ignored");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "somebody asks for a reboot, and has gone before it could be told who: ignored");
                false
            }
        }
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
