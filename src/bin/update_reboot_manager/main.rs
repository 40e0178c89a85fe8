//! The reboot manager: reboots the node into its waiting update when its turn comes. See
//! [`update_engine::reboot_manager`].
//!
//! Ends with 0 on SIGTERM and SIGINT, and at once where `REBOOT_STRATEGY=off`; with 1 beside another reboot manager, and
//! with settings that can't be used.

mod command_line;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use update_engine::flags::{self, CommandLine, FlagRequest};
use update_engine::host::Host;
use update_engine::journal::{AttemptFields, JournalLayer, chain, start_logging};
use update_engine::printable;
use update_engine::reboot_manager::{self, Manager, ManagerError, ManagerPace, ManagerSettings};
use update_engine::systemd::ServiceManager;

use command_line::MANAGER;

const NAME: &str = "update_reboot_manager";
/// Events that may wait.
const QUEUE: usize = 16;

#[derive(Debug, thiserror::Error)]
enum ProgramError {
    #[error("-hurry is refused on a real machine: it needs -root with a directory other than /")]
    Hurry,
    #[error("the settings can't be used")]
    ManagerSettings(#[from] reboot_manager::ManagerFault),
    #[error(transparent)]
    Manager(#[from] ManagerError),
    #[error("cannot start")]
    Io(#[from] std::io::Error),
}

pub(crate) fn main() -> ExitCode {
    let line = match flags::parse(MANAGER, std::env::args_os().skip(1)) {
        Ok(FlagRequest::Run(line)) => line,
        Ok(FlagRequest::Help) => {
            print!("{}", flags::help(NAME, "reboots nodes in turns", MANAGER));
            return ExitCode::FAILURE;
        }
        Ok(FlagRequest::Version) => {
            println!("{NAME}");
            return ExitCode::SUCCESS;
        }
        Err(errors) => {
            eprintln!("{}", printable(&chain(&errors)));
            return ExitCode::FAILURE;
        }
    };
    let host = Host::new(line.text("root").unwrap_or("/"));
    start_logging(JournalLayer::of(&host, AttemptFields::default()).map(|journal| journal.called(NAME)));
    match start(host, &line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn start(host: Host, line: &CommandLine) -> Result<(), ProgramError> {
    let pace = match (line.is_on("hurry"), host.is_real()) {
        (false, _) => ManagerPace::Real,
        (true, false) => ManagerPace::Hurried,
        (true, true) => return Err(ProgramError::Hurry),
    };
    // Before anything else is read: what a manager that is off has in its other settings doesn't matter.
    if ManagerSettings::is_off(&host)? {
        tracing::info!("REBOOT_STRATEGY=off: nothing to do");
        reboot_manager::warn_of_a_lock_left_behind(&host);
        // systemd takes the end of a service that was never ready for a failure.
        if let Some(manager) = ServiceManager::from_env() {
            manager.ready();
            manager.stopping();
        }
        return Ok(());
    }
    let settings = ManagerSettings::read(host, pace)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(run(settings));
    // A request that nobody waits for any more may still sit in its thread.
    runtime.shutdown_background();
    ended
}

async fn run(settings: ManagerSettings) -> Result<(), ProgramError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let manager = Manager::new(settings)?;
    let stop = CancellationToken::new();
    let (sender, events) = mpsc::channel(QUEUE);
    let watch = tokio::spawn(reboot_manager::watch(sender));
    let running = manager.run(events, stop.clone());
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    stop.cancel();
    watch.abort();
    match ended {
        Some(ended) => ended?,
        None => running.await?,
    }
    Ok(())
}
