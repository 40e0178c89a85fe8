//! `update_engine_client reboot-lock`: the commands of locksmithctl, in its words, and the state of the node's reboot manager.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::Exit;
use super::arguments::{Form, RebootLockCommand};
use super::run::{pretty, print};
use crate::bus::{INTERFACE, PATH, StatusFields};
use crate::client::{Endpoint, session};
use crate::host::Host;
use crate::journal::chain;
use crate::printable::printable;
use crate::reboot_lock::{Lock, LockError, ManagerReport, ManagerValues, Semaphore, SettingsFault};
use crate::status::Operation;

/// The manager asks the bus whose a signal is: for so long somebody has to be there.
const STAY: Duration = Duration::from_secs(2);

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
enum LockCommandError {
    #[error("{}", chain(_0))]
    Settings(#[from] SettingsFault),
    #[error("Error {doing}: {}", chain(source))]
    Lock { doing: &'static str, source: LockError },
    #[error("cannot signal on the message bus: {0}")]
    Bus(#[from] zbus::Error),
}

impl LockCommandError {
    const fn exit(&self) -> Exit {
        match self {
            Self::Settings(_)
            | Self::Lock {
                source: LockError::Refused(_) | LockError::NotOffered(_),
                ..
            } => Exit::Refused,
            Self::Lock { .. } | Self::Bus(_) => Exit::Unreachable,
        }
    }
}

/// Does what is wanted of the lock of the node below `root`.
pub(super) async fn run(command: RebootLockCommand, root: PathBuf, endpoint: &Endpoint) -> Exit {
    match carry_out(command, &Host::new(root), endpoint).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("{}", printable(&error.to_string()));
            error.exit()
        }
    }
}

async fn carry_out(
    command: RebootLockCommand,
    host: &Host,
    endpoint: &Endpoint,
) -> Result<Exit, LockCommandError> {
    if let RebootLockCommand::SendNeedReboot = command {
        send_need_reboot(endpoint).await?;
        return Ok(Exit::Done);
    }
    let values = ManagerValues::read(host)?;
    let lock = values.lock(host, values.strategy()?)?;
    let failed = |doing| move |source| LockCommandError::Lock { doing, source };
    match command {
        RebootLockCommand::Status(form) => return Ok(status(host, &lock, &form).await),
        RebootLockCommand::Lock { id } => {
            let id = id.unwrap_or_else(|| lock.id().to_owned());
            lock.lock_for(&id).await.map_err(failed("locking"))?;
        }
        // A server that lists no holders knows this one.
        RebootLockCommand::Release { id: None } if !lock.lists_holders() => {
            lock.unlock(true).await.map_err(failed("unlocking"))?;
        }
        RebootLockCommand::Release { id } => {
            let id = id.unwrap_or_else(|| lock.id().to_owned());
            lock.release_for(&id).await.map_err(failed("unlocking"))?;
        }
        RebootLockCommand::SetMax { max } => {
            let before = lock.set_max(max.into()).await.map_err(failed("setting value"))?;
            print(&format!("Old-Max: {before}\nMax: {max}\n"));
        }
        // Done above, without settings.
        RebootLockCommand::SendNeedReboot => {}
    }
    Ok(Exit::Done)
}

async fn status(host: &Host, lock: &Lock, form: &Form) -> Exit {
    let semaphore = if lock.lists_holders() {
        Some(lock.semaphore().await)
    } else {
        None
    };
    let manager = ManagerReport::read(host).unwrap_or_else(|error| {
        eprintln!("{}", printable(&chain(&error)));
        None
    });
    let is_running = ManagerReport::is_from_a_running_one(host);
    let exit = if matches!(semaphore, Some(Err(_))) {
        Exit::Unreachable
    } else {
        Exit::Done
    };
    if form.json {
        let error = semaphore.as_ref().and_then(|semaphore| semaphore.as_ref().err());
        let told = json!({
            "lock": semaphore.as_ref().and_then(|semaphore| semaphore.as_ref().ok()),
            "error": error.map(|error| chain(error)),
            "manager": manager,
            "manager_is_running": is_running,
        });
        print(&pretty(&told));
        return exit;
    }
    match semaphore {
        Some(Ok(semaphore)) => print(&printable(&table(&semaphore))),
        Some(Err(error)) => eprintln!("{}", printable(&chain(&error))),
        None => {}
    }
    eprint!("{}", printable(&page(manager.as_ref(), is_running)));
    exit
}

/// As locksmithctl prints it; the reason behind a holder, if one stands there.
fn table(semaphore: &Semaphore) -> String {
    let mut text = format!("Available: {}\nMax: {}\n", semaphore.semaphore, semaphore.max);
    if !semaphore.holders().is_empty() {
        text += "\nMACHINE ID\n";
    }
    for holder in semaphore.holders() {
        let note = semaphore.notes.get(holder).filter(|note| !note.cause.is_empty());
        text += holder;
        if let Some(note) = note {
            // Writing to a string can't fail.
            let _ = write!(text, "\trolled back from {}: {}", note.version, note.cause);
        }
        text.push('\n');
    }
    text
}

fn page(manager: Option<&ManagerReport>, is_running: bool) -> String {
    let Some(manager) = manager else {
        return "This node's reboot manager has not run since the boot.\n".to_owned();
    };
    if !is_running {
        return format!(
            "This node's reboot manager is not running. It said last: {}\n",
            manager.summary
        );
    }
    let mut text = format!("This node: {}\n", manager.summary);
    if let Some(opens) = &manager.next_window_local {
        let state = if manager.window_open { "open" } else { "closed" };
        let _ = writeln!(text, "Reboot window: {state}, the next one opens at {opens}");
    }
    text
}

async fn send_need_reboot(endpoint: &Endpoint) -> zbus::Result<()> {
    let connection = session::connect(endpoint).await?;
    let operation = Operation::UpdatedNeedReboot.as_str().to_owned();
    let status: StatusFields = (0, 0.0, operation, String::new(), 0);
    connection
        .emit_signal(Option::<&str>::None, PATH, INTERFACE, "StatusUpdate", &status)
        .await?;
    tokio::time::sleep(STAY).await;
    connection.close().await
}
