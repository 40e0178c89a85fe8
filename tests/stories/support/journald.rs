//! Who takes the journal's entries: a socket that reads its protocol, and journald itself.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::poll::{PollFd, PollFlags, poll};
use tempfile::TempDir;

use super::node::Node;

/// What systemd sets for a service whose standard error is the journal's.
const STREAM: &str = "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)";

/// The fields of one entry.
pub type Entry = HashMap<String, String>;

/// A socket where `node` looks for journald's.
pub struct JournalSocket(Arc<Inbox>);

struct Inbox {
    socket: UnixDatagram,
    entries: Mutex<Vec<Entry>>,
}

impl JournalSocket {
    /// From its next start on the daemon's standard error is said to be the journal's.
    pub fn of(node: &mut Node) -> Self {
        let path = node.path(update_engine::journal::SOCKET);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let entries = Mutex::new(Vec::new());
        let inbox = Arc::new(Inbox { socket, entries });
        let reader = Arc::downgrade(&inbox);
        std::thread::spawn(move || {
            // No more than a queue can hold waits while nobody looks, or the daemon would wait for
            // its end.
            while let Some(inbox) = reader.upgrade() {
                inbox.wait();
                inbox.entries();
            }
        });
        node.before = STREAM.into();
        Self(inbox)
    }

    /// The entries that were sent so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.0.entries()
    }

    /// Those with this identifier.
    pub fn of_kind(&self, id: &str) -> Vec<Entry> {
        let mut entries = self.entries();
        entries.retain(|entry| entry.get("MESSAGE_ID").is_some_and(|found| found == id));
        entries
    }
}

impl Inbox {
    /// Returns when a datagram is there, or once in a while.
    fn wait(&self) {
        let mut queue = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut queue, 100_u8).unwrap();
    }

    /// With all that waits in the socket's queue: what is sent before somebody looks is seen.
    fn entries(&self) -> Vec<Entry> {
        let mut entries = self.entries.lock().unwrap();
        let mut datagram = vec![0; 1 << 20];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            entries.push(parse(&datagram[..length]));
        }
        entries.clone()
    }
}

/// As journald reads a datagram.
fn parse(mut rest: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        let (name, value) = if let Some((name, value)) = line.split_once('=') {
            (name, value.to_owned())
        } else {
            let (length, value) = rest.split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()).try_into().unwrap();
            let (value, after) = value.split_at(length);
            rest = after.strip_prefix(b"\n").unwrap();
            (line, String::from_utf8(value.to_vec()).unwrap())
        };
        assert_eq!(entry.insert(name.to_owned(), value), None, "{name} stands twice");
    }
    entry
}

/// The real journald, in a mount namespace of its own. Takes root.
pub struct Journald {
    process: Child,
    directory: TempDir,
}

impl Journald {
    pub fn start() -> Self {
        const PROGRAM: &str = "/usr/lib/systemd/systemd-journald";
        let directory = TempDir::new().unwrap();
        // Nothing of the machine's own log, and nothing on its disk.
        let script = format!(
            r#"mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journald.conf.d /run/log/journal &&
               mount --bind "$0" /run/log/journal &&
               printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n' >/run/systemd/journald.conf.d/own.conf &&
               if ! [ -s /etc/machine-id ]; then
                   echo 3d1219c7c4c5404aaa1f6d2a48adfda4 >/run/machine-id && touch /etc/machine-id &&
                   mount --bind /run/machine-id /etc/machine-id; fi &&
               exec {PROGRAM}"#
        );
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .arg(directory.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    /// Whether it listens already.
    pub fn listens(&self) -> bool {
        self.inside("test")
            .args(["-S", SOCKET])
            .status()
            .unwrap()
            .success()
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.process.id().to_string(), program]);
        command
    }

    /// From its next start on the daemon's standard streams go here, as a service's do.
    pub fn listen_to(&self, node: &mut Node) {
        let socket = node.path(update_engine::journal::SOCKET);
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(SOCKET, socket).unwrap();
        let id = self.process.id();
        node.before = format!(
            r#"exec nsenter --mount --target {id} systemd-cat sh -c '{STREAM}; exec "$0" "$@"' "$0" "$@""#
        );
    }

    /// What `journalctl` shows of what `matches` select.
    pub fn show(&self, matches: &[&str]) -> String {
        let output = Command::new("journalctl")
            .arg("--directory")
            .arg(self.directory.path())
            .args(["--no-pager", "--output=cat"])
            .args(matches)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

const SOCKET: &str = update_engine::journal::SOCKET;

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
