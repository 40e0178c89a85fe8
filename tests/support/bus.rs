//! A private message bus under our policy file, and an engine that only answers the bus.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::sync::mpsc;
use update_engine::bus::{Service, serve_bus, serve_peer};
use update_engine::status::{Command, Operation, Snapshot, SnapshotSender, Status};

/// Our policy file, as distributions install it.
pub const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dbus/com.coreos.update1.conf");

/// The user id of the operator's account `core` on a bus that has it.
pub const CORE_UID: u32 = 500;
/// The user id of an account, on a bus that has it, in the group `update-engine`, ...
pub const MEMBER_UID: u32 = 501;
/// ... whose id this is.
pub const GROUP_GID: u32 = 502;
/// The user id of an account that the policy does not name.
pub const NOBODY_UID: u32 = 65534;

/// A system bus of our own: a real `dbus-daemon` with the rules of `system.conf` and our policy.
pub struct PrivateBus {
    daemon: Child,
    address: String,
    directory: TempDir,
}

/// Which accounts the bus knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// Those of this machine.
    Ours,
    /// Those of this machine, `core`, and one in the group `update-engine`: a policy for an account or a group that
    /// does not exist is ignored, so the daemon gets an /etc/passwd and an /etc/group of its own. Takes root.
    WithCore,
}

impl PrivateBus {
    pub fn start(accounts: Accounts) -> Self {
        let directory = TempDir::new().unwrap();
        // Other users must get through to the socket.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let config = directory.path().join("bus.conf");
        std::fs::write(&config, bus_config(&directory.path().join("bus"))).unwrap();

        let mut daemon = daemon_process(accounts, directory.path())
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .expect("dbus-daemon and unshare are installed");
        // The daemon prints its address once it listens.
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        let log = directory.path().join("log");
        assert!(
            !address.is_empty(),
            "dbus-daemon did not start: {}",
            std::fs::read_to_string(log).unwrap()
        );
        Self {
            daemon,
            address: address.trim().to_owned(),
            directory,
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// `program`, with this bus as its system bus.
    pub fn process(&self, program: &str) -> Process {
        let mut process = Process::new(program);
        process.env("DBUS_SYSTEM_BUS_ADDRESS", &self.address);
        process
    }

    /// A path for a socket or a file that lives as long as the bus.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A connection to this bus.
    pub async fn connect(&self) -> zbus::Connection {
        zbus::connection::Builder::address(self.address())
            .build()
            .await
            .unwrap()
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn daemon_process(accounts: Accounts, directory: &Path) -> Process {
    if accounts == Accounts::Ours {
        return Process::new("dbus-daemon");
    }
    let add = |name: &str, lines: &str| {
        let ours = std::fs::read_to_string(Path::new("/etc").join(name)).unwrap();
        std::fs::write(directory.join(name), ours + lines).unwrap();
    };
    let account = |name: &str, id: u32| format!("{name}:x:{id}:{id}::/:/bin/false\n");
    add(
        "passwd",
        &(account("core", CORE_UID) + &account("member", MEMBER_UID)),
    );
    add("group", &format!("update-engine:x:{GROUP_GID}:member\n"));
    let mut process = Process::new("unshare");
    process.args([
        "--mount",
        "sh",
        "-c",
        r#"mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && exec dbus-daemon "$@""#,
    ]);
    process.arg(directory);
    process
}

/// A path as it stands in a bus's address: what isn't known to be harmless there by its number.
fn in_address(path: &Path) -> String {
    let escape = |byte: &u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'/' | b'.' => char::from(*byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    path.as_os_str().as_bytes().iter().map(escape).collect()
}

/// The rules of the system bus as dbus ships them, and our policy on top.
fn bus_config(socket: &Path) -> String {
    // Who runs the tests without being root stands in for root.
    let own_user = nix::unistd::geteuid();
    // As the policy files of systemd and polkit: root owns their names, and everybody may ask them.
    let services = ["systemd1", "PolicyKit1"].map(|name| {
        format!(
            r#"<policy user="{own_user}"><allow own="org.freedesktop.{name}"/></policy>
  <policy context="default"><allow send_destination="org.freedesktop.{name}"/></policy>"#
        )
    });
    let stand_in = if own_user.is_root() {
        String::new()
    } else {
        format!(
            r#"<policy user="{own_user}"><allow own="*"/><allow send_destination="com.coreos.update1"/></policy>"#
        )
    };
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
  {services}
  <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
  {stand_in}
</busconfig>
"#,
        socket = in_address(socket),
        policy = POLICY.replace('&', "&amp;").replace('<', "&lt;"),
        services = services.concat()
    )
}

/// The service with an engine behind it that does nothing but keep a status.
///
/// An attempt goes from idle to checking, with a signal; a reset is refused while checking. The test
/// changes and announces statuses by hand.
pub struct BusEngine {
    pub service: Service,
    sender: SnapshotSender,
    answers: Arc<Mutex<Answers>>,
}

/// What the engine keeps.
#[derive(Default)]
struct Answers {
    status: Status,
    attempts: usize,
}

impl BusEngine {
    /// Serves on `bus`.
    pub async fn on(bus: &PrivateBus) -> Self {
        let (sender, news) = SnapshotSender::new();
        let (commands, asked) = mpsc::channel(1);
        let service = serve_bus(Some(bus.address()), commands, news).await.unwrap();
        Self::behind(service, asked, sender)
    }

    /// Serves at the socket `path`, without a bus.
    pub async fn at(path: &Path) -> Self {
        let (sender, news) = SnapshotSender::new();
        let (commands, asked) = mpsc::channel(1);
        let service = serve_peer(path, commands, news).await.unwrap();
        Self::behind(service, asked, sender)
    }

    fn behind(service: Service, mut asked: mpsc::Receiver<Command>, sender: SnapshotSender) -> Self {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (answering, signals) = (answers.clone(), sender.statuses.clone());
        tokio::spawn(async move {
            while let Some(command) = asked.recv().await {
                answering.lock().unwrap().answer(command, &signals);
            }
        });
        Self {
            service,
            sender,
            answers,
        }
    }

    /// Sets the status without a signal.
    pub fn set(&self, operation: Operation) {
        self.answers.lock().unwrap().status.operation = operation;
    }

    /// Sets the status and signals it.
    pub fn announce(&self, status: Status) {
        self.answers.lock().unwrap().status = status.clone();
        self.sender.statuses.send(status).unwrap();
    }

    /// Publishes what our own interface shows.
    pub fn publish(&self, snapshot: Snapshot) {
        self.sender.snapshot.send_replace(snapshot);
    }

    /// How many attempts were asked for.
    pub fn attempts(&self) -> usize {
        self.answers.lock().unwrap().attempts
    }
}

impl Answers {
    fn answer(&mut self, command: Command, signals: &mpsc::UnboundedSender<Status>) {
        match command {
            Command::AttemptUpdate(reply) => {
                self.attempts += 1;
                if self.status.operation == Operation::Idle {
                    self.status.operation = Operation::CheckingForUpdate;
                    signals.send(self.status.clone()).unwrap();
                }
                let _ = reply.send(());
            }
            Command::ResetStatus(reply) => {
                let idle = !matches!(self.status.operation, Operation::CheckingForUpdate);
                if idle {
                    self.status = Status::default();
                }
                let _ = reply.send(idle);
            }
            Command::Withdraw(..) => {}
            Command::Preview(_, reply) => drop(reply.send(Err("nothing to be seen here".to_owned()))),
            Command::RollBack(reply) | Command::MarkGood(reply) | Command::Cancel(reply) => {
                let _ = reply.send(Err("nothing to be done here".to_owned()));
            }
            Command::GetStatus(reply) => drop(reply.send(self.status.clone())),
        }
    }
}
