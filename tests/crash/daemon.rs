//! The daemon as the recorded program: everything that a story makes it write.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use update_engine::serve::{Catalog, RequestRecord, Server};

use crate::machine::State;
use crate::memory::Told;
use crate::node::{Node, OEM, OEM_PAIR};
use crate::oracle::Truth;
use crate::scenario::Recording;
use crate::slot_b::Held;
use crate::story::{CLAIM, EVIDENCE, REQUEST, Story, evidence};
use crate::superseding;
use crate::trace::{Trace, process, traced};

const DAEMON: &str = env!("CARGO_BIN_EXE_update_engine");
const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");
/// Where a machine that is a directory records that it would reboot.
const REBOOT: &str = "run/update_engine/reboot";

/// No step takes longer unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a story came to.
pub(crate) struct Ended {
    pub(crate) node: Node,
    /// What the node was before.
    pub(crate) start: State,
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
    pub(crate) told: Told,
}

/// Has the daemon live through `story`, and records it.
pub(crate) fn record(story: Story, mut truth: Truth) -> Recording {
    let mut log = PathBuf::new();
    let ended = live(story, &truth, |program, node| {
        log = node.path("trace");
        traced(program, &log)
    });
    assert!(ended.status.success(), "{}", ended.log);
    assert!(ended.log.contains(story.says()), "{}", ended.log);
    truth.start = ended.start;
    let trace = Trace::load(&log);
    let node = ended.node;
    Recording { truth, trace, node }
}

/// Has the daemon, under what `wrap` makes of it, live through `story`, whatever becomes of it.
pub(crate) fn live(story: Story, truth: &Truth, wrap: impl FnOnce(&Path, &Node) -> Command) -> Ended {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.unwrap();
    let node = Node::new();
    let server = runtime.block_on(serve(story, &truth.payload.bytes, &node));
    let configuration = format!(
        "GROUP=stable\nSERVER={}\nHEALTH_SETTLE=0\nHEALTH_DEADLINE=1\nREPLACE_WAITING_UPDATE=yes\n\
         PARTITION_{OEM}={OEM_PAIR}\n{}",
        server.url(),
        story.activation()
    );
    let mut start = truth.start.clone();
    start
        .files
        .extend(story.files(&truth.payload.bytes, &truth.updated, &configuration));
    node.put(&start);
    if story.begins_with_request() {
        claim(&node);
        start = node.state();
    }
    let (status, log) = match story {
        Story::Superseded => superseding::live(&node, wrap),
        Story::ActivatedByReboot => {
            let _held = hold(&node, &truth.updated);
            start = node.state();
            activate(&node, wrap)
        }
        _ => {
            let mut daemon = Daemon::start(story, &node, wrap);
            daemon.go_through(story);
            daemon.stop()
        }
    };
    let told = told(&server);
    runtime.block_on(server.stop());
    Ended {
        node,
        start,
        status,
        log,
        told,
    }
}

async fn serve(story: Story, payload: &[u8], node: &Node) -> Server {
    let file = node.path("payload");
    fs::write(&file, payload).unwrap();
    let catalog = story.fills_b().then(|| Catalog::open("2.0.0", &file).unwrap());
    Server::start(([127, 0, 0, 1], 0).into(), catalog).await.unwrap()
}

/// The request for a reboot is the daemon's own.
fn claim(node: &Node) {
    let path = |name: &str| node.root().join(name.trim_start_matches('/'));
    let request = fs::metadata(path(REQUEST)).unwrap();
    let claim = format!("{} {} {}", request.ino(), request.mtime(), request.mtime_nsec());
    fs::write(path(CLAIM), claim).unwrap();
}

/// A daemon has read slot B back and holds it, as far as others can tell.
fn hold(node: &Node, b: &Held) -> Flock<fs::File> {
    let path = node.root().join(EVIDENCE.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // With the mark of the kernel that was read.
    let kernel = fs::metadata(node.root().join("boot/flatcar/vmlinuz-b")).unwrap();
    let (size, seconds, nanoseconds) = (kernel.len(), kernel.mtime(), kernel.mtime_nsec());
    let evidence = format!("{}\n{size} {seconds}.{nanoseconds:09}", evidence(b));
    fs::write(&path, evidence).unwrap();
    Flock::lock(fs::File::open(path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap()
}

/// What an orderly reboot runs.
fn activate(node: &Node, wrap: impl FnOnce(&Path, &Node) -> Command) -> (ExitStatus, String) {
    let (program, log) = (node.path("update-engine-activate"), node.path("log"));
    symlink(DAEMON, &program).unwrap();
    let mut command = wrap(&program, node);
    command
        .args(["-running_slot", "A", "-root"])
        .arg(node.root())
        .arg("-disk")
        .arg(node.disk())
        .stderr(fs::File::create(&log).unwrap());
    let status = command.status().expect("strace is installed");
    (status, fs::read_to_string(&log).unwrap())
}

fn told(server: &Server) -> Told {
    let mut told = Told::default();
    for record in server.journal().records() {
        if let RequestRecord::Omaha(exchange) = record {
            told.rollback |= exchange.events().any(|event| event.result == 0);
            told.news |= exchange.is_check();
        }
    }
    told
}

struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    trace: PathBuf,
    reboot: PathBuf,
}

impl Daemon {
    fn start(story: Story, node: &Node, wrap: impl FnOnce(&Path, &Node) -> Command) -> Self {
        let (socket, log) = (node.path("bus"), node.path("log"));
        let mut command = wrap(Path::new(DAEMON), node);
        command
            .args(["-foreground", "-logtostderr", "-skip_postinst"])
            .args(["-running_slot", story.running(), "-root"])
            .arg(node.root())
            .arg("-disk")
            .arg(node.disk())
            .arg("-bus_peer")
            .arg(&socket)
            .stderr(fs::File::create(&log).unwrap());
        for scheme in ["all", "http", "https"] {
            command.env_remove(format!("{scheme}_proxy"));
            command.env_remove(format!("{scheme}_proxy").to_uppercase());
        }
        let daemon = Self {
            child: command.spawn().expect("strace is installed"),
            socket,
            log,
            trace: node.path("trace"),
            reboot: node.root().join(REBOOT),
        };
        until("the daemon listens", || {
            UnixStream::connect(&daemon.socket).is_ok()
        });
        daemon
    }

    /// Until there is nothing left that the daemon would do by itself.
    fn go_through(&mut self, story: Story) {
        match story {
            Story::Update | Story::RolledBack => {
                let _ = self.ask(&["-check_for_update"]);
                self.until_said(&["UPDATE_STATUS_IDLE", "UPDATE_STATUS_UPDATED_NEED_REBOOT"]);
            }
            Story::Kept => self.until_said(&["is marked good", "is not marked good"]),
            Story::GivenUp => {
                let log = || fs::read_to_string(&self.log).unwrap();
                until("the slot is left", || {
                    self.reboot.exists() || log().contains("the running slot is not left")
                });
            }
            // Its outcome is the daemon's: what became of the files shows it.
            Story::Reset => _ = self.ask(&["-reset_status"]),
            Story::Withdrawn => _ = self.ask(&["reset", "--withdraw-slot"]),
            Story::Staged => {
                let _ = self.ask(&["-check_for_update"]);
                self.until_said(&["is read back and held", "update attempt failed"]);
            }
            // Refused until it is read back.
            Story::Activated => {
                let log = || fs::read_to_string(&self.log).unwrap();
                until("the staged update is activated", || {
                    self.ask(&["activate"]) || log().contains("is not activated")
                });
                self.until_said(&["UPDATE_STATUS_UPDATED_NEED_REBOOT", "is not activated"]);
            }
            Story::Unstaged => until("the staged update is withdrawn", || self.ask(&["-reset_status"])),
            // Refused until the running slot is known to be good.
            Story::WentBack => {
                let log = || fs::read_to_string(&self.log).unwrap();
                until("the slots are exchanged", || {
                    self.ask(&["rollback"]) || log().contains("no rollback: ")
                });
            }
            // It takes a daemon that doesn't wait for minutes, or another program.
            Story::Superseded | Story::ActivatedByReboot => unreachable!(),
        }
    }

    /// Whether it was done.
    fn ask(&self, what: &[&str]) -> bool {
        let mut client = Command::new(CLIENT);
        let peer = if what[0].starts_with('-') {
            "-bus_peer"
        } else {
            "--bus-peer"
        };
        client.args(what).arg(peer).arg(&self.socket);
        let ended = client.stderr(Stdio::null()).stdout(Stdio::null()).status();
        ended.expect("the client can be run").success()
    }

    fn until_said(&self, lines: &[&str]) {
        let said = || fs::read_to_string(&self.log).unwrap();
        until(lines[0], || lines.iter().any(|line| said().contains(line)));
    }

    /// Asks it to end, as a shutdown does.
    fn stop(mut self) -> (ExitStatus, String) {
        kill(self.process(), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        (status, fs::read_to_string(&self.log).unwrap())
    }

    /// Under a tracer that isn't its child the daemon is ours.
    fn process(&self) -> Pid {
        let traced = process(&self.trace);
        Pid::from_raw(traced.unwrap_or_else(|| self.child.id().try_into().unwrap()))
    }
}

/// A test that gives up leaves nobody behind.
impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(self.process(), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// A process gives no event for this.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it takes too long until: {what}");
        sleep(Duration::from_millis(5));
    }
}
