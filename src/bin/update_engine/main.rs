//! The daemon: `update_engine -foreground -logtostderr`, as its unit calls it.
//!
//! Called by another name it is another program: see [`role`]. As the daemon it parses the command
//! line, then wires the parts together; see [`update_engine::engine`] for what they do. Ends with
//! status 0 on SIGTERM and SIGINT, with 1 when it cannot serve.

mod command_line;
mod deadline;
mod role;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use command_line::DAEMON;
use role::Role;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use update_engine::bus::{self, BusError, BusService};
use update_engine::disk::{DummyDisk, SlotName, share_one_heap};
use update_engine::engine::{DiskChoice, Engine, Node, Settings, Updater as _};
use update_engine::flags::{self, CommandLine, FlagRequest};
use update_engine::host::Host;
use update_engine::install::PostinstMode;
use update_engine::journal::chain;
use update_engine::journal::{AttemptFields, JournalLayer, start_logging};
use update_engine::monitoring::Monitor;
use update_engine::printable;
use update_engine::status::{Command, SnapshotReceiver, SnapshotSender};

const NAME: &str = "update_engine";

/// Options of the command line.
struct Options {
    settings: Settings,
    peer: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum OptionsError {
    #[error("-disk and -running_slot go together")]
    HalfADisk,
    #[error("-running_slot is A or B, not {0:?}")]
    NoSuchSlot(String),
    #[error("-skip_postinst is refused on a real machine: it needs -root with a directory other than /")]
    PostinstNeeded,
}

impl Options {
    fn new(line: &CommandLine) -> Result<Self, OptionsError> {
        let peer = line.text("bus_peer").map(PathBuf::from);
        Ok(Self {
            settings: settings(line)?,
            peer,
        })
    }
}

/// The machine that `line` describes.
fn settings(line: &CommandLine) -> Result<Settings, OptionsError> {
    let host = Host::new(line.text("root").unwrap_or("/"));
    let postinst = match (line.is_on("skip_postinst"), host.is_real()) {
        (false, _) => PostinstMode::Run,
        (true, false) => PostinstMode::Skip,
        (true, true) => return Err(OptionsError::PostinstNeeded),
    };
    Ok(Settings {
        host,
        disk: disk(line)?,
        postinst,
    })
}

fn disk(line: &CommandLine) -> Result<DiskChoice, OptionsError> {
    match (line.text("disk"), line.text("running_slot")) {
        (None, None) => Ok(DiskChoice::OfUsr),
        (Some(path), Some(slot)) => Ok(DiskChoice::Named {
            path: path.into(),
            running: match slot {
                "A" | "a" => SlotName::A,
                "B" | "b" => SlotName::B,
                other => return Err(OptionsError::NoSuchSlot(other.to_owned())),
            },
        }),
        _ => Err(OptionsError::HalfADisk),
    }
}

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().map(PathBuf::from).unwrap_or_default();
    match Role::called(&name) {
        Some(role) => role.play(&name, arguments),
        None => daemon(arguments),
    }
}

fn daemon(arguments: std::env::ArgsOs) -> ExitCode {
    let line = match flags::parse(DAEMON, arguments) {
        Ok(FlagRequest::Run(line)) => line,
        Ok(FlagRequest::Help) => {
            print!("{}", flags::help(NAME, "A/B update daemon", DAEMON));
            return ExitCode::FAILURE;
        }
        Ok(FlagRequest::Version) => {
            println!("{NAME}");
            return ExitCode::SUCCESS;
        }
        Err(errors) => return refuse(&errors),
    };
    let options = match Options::new(&line) {
        Ok(options) => options,
        Err(error) => return refuse(&error),
    };
    // Before the runtime: only the forking thread survives a fork.
    if !line.is_on("foreground")
        && let Err(error) = nix::unistd::daemon(false, false)
    {
        return refuse(&error);
    }
    start(options)
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{}", printable(&chain(error)));
    ExitCode::FAILURE
}

fn start(options: Options) -> ExitCode {
    let attempt_fields = AttemptFields::default();
    start_logging(JournalLayer::of(&options.settings.host, attempt_fields.clone()));
    // What is made here is for root alone, whatever the mode asked for.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    share_one_heap();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let ended = runtime.block_on(run(options, attempt_fields));
    // A request that nobody waits for any more may still sit in its thread.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DaemonError {
    #[error("cannot serve on the bus")]
    Bus(#[from] BusError),
    #[error("cannot listen for signals")]
    Signals(#[from] std::io::Error),
    #[error("the bus has gone away")]
    BusGone,
    #[error("a part of the engine died")]
    Died,
}

async fn run(options: Options, attempt_fields: AttemptFields) -> Result<(), DaemonError> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let (sender, news) = SnapshotSender::new();
    let (commands, received) = mpsc::channel(16);
    let host = options.settings.host.clone();
    if let Err(error) = DummyDisk::remove_leftover(&host) {
        tracing::warn!(%error, "a dummy disk stays for now");
    }
    let node = Arc::new(Node::new(options.settings, attempt_fields));
    let beginning = (node.initial_state(), node.node_facts().await);
    // Before anybody can ask: the first answer is as good as any.
    let engine = Engine::new(Arc::clone(&node), beginning, sender, stop.clone());
    let monitor = Monitor::new(host, news.snapshot.clone(), commands.clone(), stop.clone());
    let service = serve(options.peer, commands, news).await?;
    let monitor = tokio::spawn(monitor.run());
    let mut engine = tokio::spawn(engine.run(received));
    let keeper = {
        let (node, stop) = (Arc::clone(&node), stop.clone());
        tokio::spawn(async move { node.keep_baseline(&stop).await })
    };

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = service.closed() => Err(DaemonError::BusGone),
        _ = &mut engine => return Err(DaemonError::Died),
    };
    stop.cancel();
    // A panic in any is in the journal already.
    let _ = engine.await;
    let _ = monitor.await;
    let _ = keeper.await;
    service.shutdown().await;
    if outcome.is_ok() {
        node.end_orderly();
    }
    outcome
}

async fn serve(
    peer: Option<PathBuf>,
    commands: mpsc::Sender<Command>,
    news: SnapshotReceiver,
) -> Result<BusService, BusError> {
    match peer {
        Some(path) => bus::serve_peer(&path, commands, news).await,
        None => bus::serve_bus(None, commands, news).await,
    }
}
