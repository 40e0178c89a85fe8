//! A node: a directory that stands for `/`, a disk image, and the real daemon and client.

use std::ffi::OsStr;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use update_engine::disk::SlotName;
use update_engine::host::subprocess::{NO_PROXY_VARIABLES, PROXY_VARIABLES};

use super::image::Image;
use test_support::bus::PrivateBus;
use test_support::fixtures;

const DAEMON: &str = env!("CARGO_BIN_EXE_update_engine");
const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");

/// Where the daemon looks for the image's public key.
pub const KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";
/// The file that says that a reboot is due.
pub const MARKER: &str = "/var/run/update_engine_autoupdate_completed";
/// The kernel of slot B.
pub const KERNEL_B: &str = "/boot/flatcar/vmlinuz-b";
/// The operator's configuration.
pub const CONFIG: &str = "/etc/flatcar/update.conf";

const SKIP_POSTINST: &str = "-skip_postinst";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A node that runs version 1.0.0, the old image, from slot A.
pub struct Node {
    directory: TempDir,
    pub disk: Image,
    /// Further flags of the daemon.
    flags: Vec<&'static str>,
    /// Shell commands before each start of the daemon: limits, mounts.
    pub before: String,
    /// Whether the daemon is told which disk is its own.
    is_told_its_disk: bool,
}

impl Node {
    /// Asks `server` for updates and trusts the fixtures' key. Slot B holds a fallback of 16 MiB.
    pub fn new(server: &str) -> Self {
        let node = Self::with_slots(server, 16 << 20);
        node.disk.write(SlotName::A, 0, &fixtures::image("old.img"));
        node.disk.write(SlotName::B, 0, &vec![0xb0; 16 << 20]);
        node
    }

    /// The same with empty slots of `slot_len` bytes.
    pub fn with_slots(server: &str, slot_len: u64) -> Self {
        let directory = TempDir::new().unwrap();
        let disk = Image::new(directory.path().join("disk.img"), slot_len);
        // Without root nothing can be mounted: what an update is but for its postinst can be shown
        // all the same.
        let flags = if nix::unistd::geteuid().is_root() {
            Vec::new()
        } else {
            vec![SKIP_POSTINST]
        };
        let node = Self {
            directory,
            disk,
            flags,
            before: ":".to_owned(),
            is_told_its_disk: true,
        };
        node.run_version("1.0.0");
        node.write(CONFIG, format!("GROUP=stable\nSERVER={server}\n").as_bytes());
        node.write("/etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n");
        node.write(BOOT_ID, b"1");
        node.trust("test-key.pub.pem");
        node.write(
            "/boot/flatcar/vmlinuz-a",
            &std::fs::read(fixtures::payload("vmlinuz-old")).unwrap(),
        );
        node.write(KERNEL_B, b"the fallback's kernel");
        node
    }

    /// Its daemon runs no postinst: for images that hold no file system.
    pub fn without_postinst(mut self) -> Self {
        self.flags = vec![SKIP_POSTINST];
        self
    }

    /// Its daemon finds disk and slot by itself, below the mount of `/usr`: in the node's `/proc`,
    /// and this machine's devices.
    pub fn finds_its_slot(&mut self) {
        self.is_told_its_disk = false;
        std::fs::create_dir_all(self.path("/sys")).unwrap();
        for directory in ["/dev", "/sys/dev"] {
            std::os::unix::fs::symlink(directory, self.path(directory)).unwrap();
        }
    }

    /// Sets the version that runs.
    pub fn run_version(&self, version: &str) {
        let release = format!("FLATCAR_RELEASE_VERSION={version}\nFLATCAR_RELEASE_BOARD=amd64-usr\n");
        self.write("/usr/share/flatcar/release", release.as_bytes());
    }

    /// Makes a key of the fixtures the trusted one.
    pub fn trust(&self, key: &str) {
        self.write(KEY, &std::fs::read(fixtures::payload(key)).unwrap());
    }

    /// Where the absolute path lies.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.directory
            .path()
            .join("root")
            .join(absolute.trim_start_matches('/'))
    }

    pub fn write(&self, absolute: &str, contents: &[u8]) {
        let path = self.path(absolute);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    pub fn read(&self, absolute: &str) -> Vec<u8> {
        std::fs::read(self.path(absolute)).unwrap()
    }

    /// One of the original's preferences.
    pub fn pref(&self, key: &str) -> Option<String> {
        std::fs::read_to_string(self.path(&format!("/var/lib/update_engine/prefs/{key}"))).ok()
    }

    /// A file beside the node's, for what belongs to a test.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What a reboot does: the loader picks a slot, what lies in memory is gone.
    pub fn reboot(&self) -> SlotName {
        let _ = std::fs::remove_dir_all(self.path("/var/run"));
        let _ = std::fs::remove_dir_all(self.path("/run"));
        let boot: u32 = String::from_utf8(self.read(BOOT_ID)).unwrap().parse().unwrap();
        self.write(BOOT_ID, (boot + 1).to_string().as_bytes());
        self.disk.boot()
    }

    /// What systemd runs when the machine, booted from slot A, goes down for an orderly reboot, while
    /// the daemon still runs.
    pub fn activate_at_reboot(&self) -> Output {
        let program = self.beside("update-engine-activate");
        if !program.exists() {
            std::os::unix::fs::symlink(DAEMON, &program).unwrap();
        }
        let mut command = Command::new(program);
        command.arg("-root").arg(self.path("/"));
        command.arg("-disk").arg(self.disk.path());
        command.args(["-running_slot", "A"]).output().unwrap()
    }

    /// Starts the daemon, as if booted from `running`.
    pub fn start(&self, bus: &PrivateBus, running: SlotName) -> Daemon {
        self.start_after(&self.before, bus, running)
    }

    /// Starts the daemon after the shell commands `first`, which may set limits.
    pub fn start_after(&self, first: &str, bus: &PrivateBus, running: SlotName) -> Daemon {
        let log = self.beside("daemon.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let mut process = bus.process("sh");
        process.args(["-c", &format!(r#"{first}; exec "$0" "$@""#), DAEMON]);
        process.args(["-foreground", "-logtostderr", "--root"]);
        process.arg(self.path("/"));
        if self.is_told_its_disk {
            process.arg("--disk").arg(self.disk.path());
            process.args(["--running-slot", &running.letter().to_string()]);
        }
        process.args(&self.flags);
        for name in PROXY_VARIABLES.iter().chain(&NO_PROXY_VARIABLES) {
            process.env_remove(name);
        }
        let child = process.stderr(file).spawn().unwrap();
        Daemon { child, log }
    }
}

/// As one word for a shell, whatever is in it.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_str().unwrap();
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes)
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// The running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// What it logged, and those before it on this node.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it ends by itself.
    pub fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Asks it to end and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Ends it as a power cut would, but for what the kernel still writes.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Runs the real client; gives its standard output and exit status.
pub async fn client(bus: &PrivateBus, flag: &str) -> (String, ExitStatus) {
    let mut process = bus.process(CLIENT);
    process.arg(flag).stderr(Stdio::null());
    let output = tokio::process::Command::from(process).output().await.unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status)
}
