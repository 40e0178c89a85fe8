//! Execution of one command, from its arguments to its exit code.

use std::io::Write as _;

use serde_json::json;

use super::arguments::{Arguments, NativeCommand};
use super::progress::{Follower, ProgressDisplay};
use super::remote::{Remote, RemoteError};
use super::{Exit, health, history, page, reboot_lock, settings, time};
use crate::client::Endpoint;
use crate::host::Host;
use crate::journal::chain;
use crate::printable::printable;
use crate::status::{EngineState, Obstacle, OfferSource, Overview};
use crate::trial_deadline;

/// Carries out a command. Results go to standard output, errors to standard error.
pub async fn run(arguments: Arguments) -> Exit {
    let endpoint = arguments.bus_peer.map_or(Endpoint::SystemBus, Endpoint::Peer);
    match carry_out(arguments.command, &endpoint).await {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("update_engine_client: {}", printable(&error.to_string()));
            error.exit()
        }
    }
}

async fn carry_out(command: NativeCommand, endpoint: &Endpoint) -> Result<Exit, RemoteError> {
    if let NativeCommand::Config { form, root } = &command {
        tell(&settings::show(root, form.json)?, form.json);
        return Ok(Exit::Done);
    }
    if let NativeCommand::RebootLock { command, root } = command {
        return Ok(reboot_lock::run(command, root, endpoint).await);
    }
    let remote = Remote::open(endpoint).await?;
    match command {
        NativeCommand::Status { watch: true, .. } => return watch(&remote).await,
        NativeCommand::Status { form, .. } => tell(&status(&remote, form.json).await?, form.json),
        NativeCommand::Check {
            dry_run: true,
            ask_server,
            json,
        } => return dry_run(&remote, ask_server, json).await,
        NativeCommand::Check { .. } => tell_summary(&remote, remote.check().await).await?,
        NativeCommand::Update => return update(&remote).await,
        NativeCommand::Reset { withdraw_slot } => {
            remote.reset(withdraw_slot).await?;
            print("nothing waits for the reboot any more\n");
            if !withdraw_slot {
                print("The partition table is as it was; --withdraw-slot puts the running slot first.\n");
            }
        }
        NativeCommand::Slots(form) => tell(&slots(&remote, form.json).await?, form.json),
        NativeCommand::Activate => {
            remote.activate().await?;
            print("the staged update is activated: it boots next\n");
        }
        NativeCommand::Rollback => tell_summary(&remote, remote.roll_back().await).await?,
        NativeCommand::Cancel => {
            remote.cancel().await?;
            print("the update is broken off; what has been downloaded is kept\n");
        }
        NativeCommand::MarkGood => {
            remote.mark_good().await?;
            print("the running slot is marked good and boots next\n");
        }
        NativeCommand::Why => {
            let (overview, diagnostics) = (remote.overview().await?, remote.diagnostics().await);
            tell(&page::why(&overview, diagnostics.as_ref()), false);
        }
        NativeCommand::Health(form) => tell(&health(&remote, form.json).await?, form.json),
        NativeCommand::History(form) => tell(&attempts(&remote, form.json).await?, form.json),
        // Done above, without an engine.
        NativeCommand::Config { .. } | NativeCommand::RebootLock { .. } => {}
    }
    Ok(Exit::Done)
}

/// Prints what the engine does once a command is `done`.
async fn tell_summary(remote: &Remote, done: Result<(), RemoteError>) -> Result<(), RemoteError> {
    done?;
    tell(&format!("{}\n", remote.overview().await?.summary), false);
    Ok(())
}

async fn status(remote: &Remote, json: bool) -> Result<String, RemoteError> {
    let (overview, diagnostics) = (remote.overview().await?, remote.diagnostics().await);
    // Asked here, so that it is told of a daemon that hangs, too.
    let host = Host::new("/");
    let deadline = trial_deadline::armed(&host);
    let unarmed = matches!(deadline, Ok(None) if is_on_trial(&overview))
        .then(|| trial_deadline::why_not_armed(&host))
        .flatten();
    if !json {
        let deadline = match deadline {
            Ok(state) => state.map(|state| state.to_string()).or(unarmed),
            Err(error) => Some(chain(&error)),
        };
        return Ok(page::status(&overview, diagnostics.as_ref(), deadline.as_deref()));
    }
    let mut value = json!(overview);
    if let (Some(object), Some(diagnostics)) = (value.as_object_mut(), diagnostics) {
        object.insert("rollback_output".to_owned(), diagnostics.rollback_output.into());
    }
    if let (Some(object), Ok(Some(deadline))) = (value.as_object_mut(), deadline) {
        object.insert("armed_trial_deadline".to_owned(), json!(deadline));
    }
    if let (Some(object), Some(unarmed)) = (value.as_object_mut(), unarmed) {
        object.insert("no_trial_deadline".to_owned(), unarmed.into());
    }
    Ok(pretty(&value))
}

/// Whether the running slot may be on trial: also where the engine can't read the slots.
fn is_on_trial(overview: &Overview) -> bool {
    !overview.slots.iter().any(|slot| slot.running && slot.successful)
}

async fn slots(remote: &Remote, json: bool) -> Result<String, RemoteError> {
    let overview = remote.overview().await?;
    Ok(if json {
        pretty(&overview.slots)
    } else {
        page::slots(&overview)
    })
}

async fn health(remote: &Remote, json: bool) -> Result<String, RemoteError> {
    let report = remote.health().await?;
    Ok(if json {
        pretty(&report)
    } else {
        health::page(&report)
    })
}

async fn attempts(remote: &Remote, json: bool) -> Result<String, RemoteError> {
    let attempts = remote.attempts().await?;
    Ok(if json {
        pretty(&attempts)
    } else {
        history::table(&attempts)
    })
}

async fn dry_run(remote: &Remote, ask_server: bool, json: bool) -> Result<Exit, RemoteError> {
    let source = if ask_server {
        OfferSource::Server
    } else {
        OfferSource::LastCheck
    };
    let preview = remote.preview(source).await?;
    let told = if json {
        pretty(&preview)
    } else {
        page::preview(&preview, time::now())
    };
    tell(&told, json);
    Ok(page::preview_exit(preview.prospect))
}

async fn watch(remote: &Remote) -> Result<Exit, RemoteError> {
    let mut display = ProgressDisplay::default();
    let mut follower = Follower::new(remote).await?;
    display.tell(&remote.overview().await?);
    loop {
        display.tell(&follower.next().await?);
    }
}

/// Starts an attempt, or joins the one under way, and waits for its end.
async fn update(remote: &Remote) -> Result<Exit, RemoteError> {
    let mut display = ProgressDisplay::default();
    let mut follower = Follower::new(remote).await?;
    remote.check().await?;
    let mut overview = remote.overview().await?;
    loop {
        display.tell(&overview);
        if let Some(exit) = outcome(&overview) {
            if exit != Exit::Done {
                eprintln!("More: update_engine_client why");
            }
            return Ok(exit);
        }
        overview = follower.next().await?;
    }
}

/// Exit code of an attempt; `None` while it is under way.
fn outcome(overview: &Overview) -> Option<Exit> {
    match overview.state {
        EngineState::RebootNeeded | EngineState::Staged | EngineState::StagedForReboot => Some(Exit::Done),
        EngineState::RollbackNeeded => Some(Exit::PutOff),
        EngineState::Idle => Some(
            match overview.no_update.0.as_ref().map(|no_update| no_update.kind) {
                None | Some(Obstacle::NoneOffered) => Exit::NothingOffered,
                Some(Obstacle::Failed) => Exit::Failed,
                Some(_) => Exit::PutOff,
            },
        ),
        _ => None,
    }
}

pub(super) fn pretty(value: &impl serde::Serialize) -> String {
    // Plain records with text for keys: they always have a JSON form.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("{text}\n")
}

/// Prints text of the engine: unchanged for programs, escaped for people.
fn tell(text: &str, is_for_programs: bool) {
    if is_for_programs {
        print(text);
    } else {
        print(&printable(text));
    }
}

pub(super) fn print(text: &str) {
    // A reader that has gone away is no reason to fail.
    let mut output = std::io::stdout();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
