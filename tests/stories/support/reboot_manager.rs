//! The real reboot manager on a node.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use update_engine::host::Host;
use update_engine::reboot_lock::ManagerReport;

use super::node::Node;
use super::scene::eventually;
use test_support::bus::PrivateBus;

const PROGRAM: &str = env!("CARGO_BIN_EXE_update_reboot_manager");

/// The running manager; killed when dropped.
pub struct RebootManager {
    child: Child,
    host: Host,
    log: std::path::PathBuf,
}

impl RebootManager {
    /// Starts it, with short pauses.
    pub fn start(node: &Node, bus: &PrivateBus) -> Self {
        Self::spawn(bus.process(PROGRAM), node)
    }

    /// Starts it as a service manager does that waits until it is ready: tells it by the socket.
    pub fn start_as_service(node: &Node, bus: &PrivateBus) -> (Self, UnixDatagram) {
        let path = node.beside("manager.notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut process = bus.process(PROGRAM);
        process.env("NOTIFY_SOCKET", path);
        (Self::spawn(process, node), socket)
    }

    /// Starts it with its standard error said to be the journal's, as of a service.
    pub fn start_with_journal(node: &Node, bus: &PrivateBus) -> Self {
        let mut process = bus.process(PROGRAM);
        let log = Self::open_log(node).metadata().unwrap();
        process.env("JOURNAL_STREAM", format!("{}:{}", log.dev(), log.ino()));
        Self::spawn(process, node)
    }

    fn open_log(node: &Node) -> File {
        let log = node.beside("manager.log");
        File::options().create(true).append(true).open(log).unwrap()
    }

    fn spawn(mut process: Command, node: &Node) -> Self {
        let log = node.beside("manager.log");
        let file = Self::open_log(node);
        process.args(["-hurry", "-root"]).arg(node.path("/"));
        process
            .env("TZ", "UTC")
            .env("RUST_LOG", "update_engine=debug,info");
        Self {
            child: process.stderr(file).spawn().unwrap(),
            host: Host::new(node.path("/")),
            log,
        }
    }

    /// What it logged, and those before it on this node.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says that it is at.
    pub fn report(&self) -> ManagerReport {
        ManagerReport::read(&self.host).unwrap().unwrap_or_default()
    }

    /// Returns once it is in this phase.
    pub async fn reaches(&self, phase: &str) {
        let what = format!("the phase {phase}");
        eventually(&what, || self.report().phase == phase).await;
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        kill(
            Pid::from_raw(self.child.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        self.child.wait().unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for RebootManager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
