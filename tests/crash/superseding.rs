//! The daemon of which another update takes the place of one that waits: the engine and the node as
//! the daemon wires them, but for the minutes between two checks. It is this program, called
//! `supersede`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::engine::{DiskChoice, Engine, Node as Machine, NodeFacts, Settings};
use update_engine::host::Host;
use update_engine::install::PostinstMode;
use update_engine::journal::AttemptFields;
use update_engine::status::{Operation, SnapshotSender};

use crate::immediate_checks::ImmediateChecks;
use crate::node::Node;

/// How it is called.
pub(crate) const CALL: &str = "supersede";

/// Runs it on `node` until it ends by itself: what became of it, and what it said.
pub(crate) fn live(node: &Node, wrap: impl FnOnce(&Path, &Node) -> Command) -> (ExitStatus, String) {
    let log = node.path("log");
    let mut program = wrap(&std::env::current_exe().unwrap(), node);
    program.arg(CALL).args([node.root(), node.disk()]);
    let status = program.stderr(File::create(&log).unwrap()).status();
    (
        status.expect("strace is installed"),
        fs::read_to_string(log).unwrap(),
    )
}

/// The program: from the wait for one update to that for the next one, or to what came instead.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [root, disk] = arguments else {
        panic!("{CALL} ROOT DISK");
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let machine = Machine::new(
        Settings {
            host: Host::new(root),
            disk: DiskChoice::Named {
                path: disk.into(),
                running: SlotName::A,
            },
            postinst: PostinstMode::Skip,
        },
        AttemptFields::default(),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(supersede(machine));
    ExitCode::SUCCESS
}

async fn supersede(machine: Machine) {
    let beginning = (machine.initial_state(), NodeFacts::default());
    let (sender, mut published) = SnapshotSender::new();
    let stop = CancellationToken::new();
    let (_commands, receiver) = mpsc::channel(1);
    let engine = Engine::new(
        Arc::new(ImmediateChecks(machine)),
        beginning,
        sender,
        stop.clone(),
    );
    let engine = tokio::spawn(engine.run(receiver));
    let mut has_begun = false;
    while let Some(status) = published.statuses.recv().await {
        has_begun |= status.operation == Operation::UpdateAvailable;
        if has_begun && matches!(status.operation, Operation::Idle | Operation::UpdatedNeedReboot) {
            break;
        }
    }
    stop.cancel();
    engine.await.unwrap();
}
