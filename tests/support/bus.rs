//! A private message bus with the project's policy file.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use tempfile::TempDir;

use crate::project;

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
    /// Those of this machine, `core`, and one in the group `update-engine`: a policy for an account
    /// or a group that does not exist is ignored, so the daemon gets an /etc/passwd and an
    /// /etc/group of its own. Takes root.
    WithCore,
}

impl PrivateBus {
    /// Starts the daemon, and waits until it listens.
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

    /// Its address, as `DBUS_SYSTEM_BUS_ADDRESS` has it.
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
    let services = ["systemd1", "PolicyKit1", "login1"].map(|name| {
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
    let policy = project().join("dbus/com.coreos.update1.conf");
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
        policy = policy
            .to_str()
            .unwrap()
            .replace('&', "&amp;")
            .replace('<', "&lt;"),
        services = services.concat()
    )
}
