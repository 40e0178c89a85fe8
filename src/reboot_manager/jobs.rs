//! Jobs: the effects that take time, each from its order to the event that answers it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{
    Confirmation, LockAnswer, ManagerEvent, ManagerJob, NoteAnswer, PrepareAnswer, RebootAnswer, UnlockAnswer,
};
use super::programs::{self, Moment};
use super::settings::ManagerSettings;
use super::state::FailedVersion;
use super::{engine, logind};
use crate::host::ClockWatch;
use crate::journal::chain;
use crate::reboot_lock::{Acquired, Look, Note};

/// A window is looked for at least so often: a node may have slept.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Carries out `job` for `version`.
pub(super) async fn run(settings: Arc<ManagerSettings>, job: ManagerJob, version: String) -> ManagerEvent {
    match job {
        ManagerJob::AwaitWindow => await_window(&settings).await,
        ManagerJob::LookAtWindow => ManagerEvent::Window(settings.windows.is_open(Timestamp::now())),
        ManagerJob::Lock { wanted, failed } => {
            // Others go on seeing why the lock is kept.
            let failed = failed.unwrap_or_else(|| FailedVersion {
                version: wanted.version,
                cause: String::new(),
            });
            ManagerEvent::Locked(match settings.lock.lock(&note_of(failed)).await {
                Ok(Acquired::Held) => LockAnswer::Granted,
                Ok(Acquired::Taken(by)) => LockAnswer::Taken(by),
                Err(error) => LockAnswer::Failed(chain(&error)),
            })
        }
        ManagerJob::Prepare => {
            let ran = programs::run_until_refused(&settings.host, Moment::PreReboot, &version);
            ManagerEvent::Prepared(match ran.await {
                Ok(()) => PrepareAnswer::Done,
                Err(veto) => PrepareAnswer::Vetoed(chain(&veto)),
            })
        }
        ManagerJob::Notify => notify(&settings).await,
        ManagerJob::Confirm => confirm(&settings).await,
        ManagerJob::Reboot => ManagerEvent::RebootAnswered(match engine::connect().await {
            // What is staged the shutdown activates, once it is certain that there is one.
            Ok(connection) => logind::reboot(&connection).await,
            // Nobody was asked.
            Err(error) => RebootAnswer::Refused(error.to_string()),
        }),
        ManagerJob::Settle => {
            programs::run_all(&settings.host, Moment::PostGood, &version).await;
            ManagerEvent::Settled
        }
        ManagerJob::Unlock { fence } => ManagerEvent::Unlocked(match settings.lock.unlock(fence).await {
            Ok(()) => UnlockAnswer::Released,
            Err(error) => UnlockAnswer::Failed(chain(&error)),
        }),
        ManagerJob::Note(failed) => ManagerEvent::Noted(match settings.lock.note(&note_of(failed)).await {
            Ok(Look::Held) => NoteAnswer::Noted,
            Ok(Look::NotHeld) => NoteAnswer::NotHeld,
            Ok(Look::Unknown) => NoteAnswer::CannotTell,
            Err(error) => NoteAnswer::Failed(chain(&error)),
        }),
        ManagerJob::Pause(pause) => {
            tokio::time::sleep(settings.pause(pause)).await;
            ManagerEvent::PauseOver
        }
    }
}

/// What is written beside the holder.
fn note_of(failed: FailedVersion) -> Note {
    Note {
        version: failed.version,
        cause: failed.cause,
        ..Note::default()
    }
}

/// Until a window is open. Whoever sets the clock may open one.
async fn await_window(settings: &ManagerSettings) -> ManagerEvent {
    let clock = ClockWatch::new();
    loop {
        let now = Timestamp::now();
        if settings.windows.is_open(now) {
            return ManagerEvent::Window(true);
        }
        let opens = settings.windows.next_opening(now);
        let wait = opens.and_then(|opens| Duration::try_from(opens.duration_since(now)).ok());
        let wait = wait.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        let was_set = async {
            match &clock {
                Ok(clock) => clock.was_set().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = was_set => {}
        }
    }
}

/// Tells logged-in users of the reboot. If logind can't be asked, there are none.
async fn notify(settings: &ManagerSettings) -> ManagerEvent {
    let message = format!("System reboot in {}!", in_words(settings.grace));
    let told = async {
        let connection = engine::connect().await?;
        logind::tell_users(&connection, &settings.host, &message).await
    };
    match told.await {
        Ok(0) => {}
        Ok(users) => {
            let seconds = settings.grace.as_secs();
            tracing::info!("{users} logged-in users are told: the reboot waits for {seconds} s");
            tokio::time::sleep(settings.grace).await;
        }
        Err(error) => tracing::warn!(%error, "logged-in users can't be told of the reboot"),
    }
    ManagerEvent::UsersNotified
}

fn in_words(grace: Duration) -> String {
    match grace.as_secs() {
        seconds if seconds >= 120 && seconds % 60 == 0 => format!("{} minutes", seconds / 60),
        seconds => format!("{seconds} seconds"),
    }
}

async fn confirm(settings: &ManagerSettings) -> ManagerEvent {
    let connection = match engine::connect().await {
        Ok(connection) => connection,
        Err(error) => {
            return ManagerEvent::Confirmed(Confirmation {
                engine: super::EngineView::Silent(error.to_string()),
                is_open: settings.windows.is_open(Timestamp::now()),
                inhibitors: None,
            });
        }
    };
    let inhibitors = logind::inhibitors(&connection).await.unwrap_or_else(|error| {
        // It will say so itself when it is asked to reboot.
        tracing::warn!(%error, "logind can't be asked for inhibitor locks");
        None
    });
    ManagerEvent::Confirmed(Confirmation {
        engine: engine::read(&connection).await,
        is_open: settings.windows.is_open(Timestamp::now()),
        inhibitors,
    })
}
