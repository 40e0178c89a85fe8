//! The daemon as the recorded program: everything that an update makes it write.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use update_engine::serve::{Catalog, Record, Server};

use crate::node::Node;
use crate::oracle::Truth;
use crate::scenario::Recording;
use crate::trace::{Trace, process, traced};

const DAEMON: &str = env!("CARGO_BIN_EXE_update_engine");
const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");
const MARKER: &str = "var/run/update_engine_autoupdate_completed";

/// No step takes longer unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the daemon told to look for an update, and records it until it waits for the reboot.
pub(crate) fn record(truth: Truth) -> Recording {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(record_with_server(truth))
}

async fn record_with_server(mut truth: Truth) -> Recording {
    let node = Node::new();
    let payload = node.path("payload");
    std::fs::write(&payload, &truth.payload.bytes).unwrap();
    let catalog = Catalog::open("2.0.0", &payload).unwrap();
    let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
        .await
        .unwrap();
    let configuration = format!("GROUP=stable\nSERVER={}\n", server.url());
    let file = "/etc/flatcar/update.conf".to_owned();
    truth.start.files.insert(file, configuration.into_bytes());
    node.put(&truth.start);

    let (log, socket) = (node.path("trace"), node.path("bus"));
    let mut daemon = daemon(&node, &log, &socket).spawn().expect("strace is installed");
    until("the daemon listens", || UnixStream::connect(&socket).is_ok());
    let asked = tokio::process::Command::new(CLIENT)
        .args(["-check_for_update", "-bus_peer"])
        .arg(&socket)
        .stderr(Stdio::null())
        .status();
    assert!(asked.await.unwrap().success());
    let ended = server.journal().wait_for(is_success);
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    ended.expect("the daemon reports a success");
    until("the marker is there", || node.root().join(MARKER).exists());
    let process = process(&log).expect("the daemon made calls");
    kill(Pid::from_raw(process), Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
    let trace = Trace::load(&log);
    Recording { truth, trace, node }
}

fn daemon(node: &Node, log: &Path, socket: &Path) -> Command {
    let mut command = traced(Path::new(DAEMON), log);
    command
        .args([
            "-foreground",
            "-logtostderr",
            "-skip_postinst",
            "-running_slot",
            "A",
            "-root",
        ])
        .arg(node.root())
        .arg("-disk")
        .arg(node.disk())
        .arg("-bus_peer")
        .arg(socket)
        .stderr(Stdio::null());
    for scheme in ["all", "http", "https"] {
        command.env_remove(format!("{scheme}_proxy"));
        command.env_remove(format!("{scheme}_proxy").to_uppercase());
    }
    command
}

/// The event with which an update is reported as complete.
fn is_success(record: &Record) -> bool {
    match record {
        Record::Omaha(exchange) => exchange
            .events()
            .any(|event| (event.kind, event.result) == (3, 1)),
        _ => false,
    }
}

/// A process gives no event for this.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it takes too long until {what}");
        sleep(Duration::from_millis(5));
    }
}
