//! The node: a root directory, a disk, the daemon while it is up, and what its operator types.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_support::flatcar_disk;
use update_engine::disk::{SlotDisk, SlotName};

use super::Outcome;
use super::bus::Meeting;
use super::payloads::Payload;
use super::programs::{program, succeed};
use super::screen::{Bar, say};
use super::{fixture, loader};

/// Longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// More than an image takes.
const SLOT_MIB: u64 = 64;
/// Between two looks at the status.
const GLANCE: Duration = Duration::from_millis(150);

pub struct Node {
    root: PathBuf,
    disk: PathBuf,
    meeting: Meeting,
    pub running: SlotName,
    versions: HashMap<SlotName, &'static str>,
    daemon: Option<Child>,
}

impl Node {
    /// A node as a machine is installed: the factory's version in slot A, good; slot B empty.
    pub fn install(directory: &Path, factory: &Payload, server: &str) -> Outcome<Self> {
        let (root, disk) = (directory.join("root"), directory.join("disk.img"));
        let files: [(&str, Vec<u8>); 6] = [
            (
                "etc/flatcar/update.conf",
                format!("GROUP=stable\nSERVER={server}\n").into(),
            ),
            ("etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n".to_vec()),
            ("boot/flatcar/vmlinuz-a", factory.kernel.clone()),
            ("var/lib/update_engine/prefs/.keep", Vec::new()),
            ("run/.keep", Vec::new()),
            (
                "usr/share/update_engine/update-payload-key.pub.pem",
                fs::read(fixture("payload/test-key.pub.pem"))?,
            ),
        ];
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&root))?;
            fs::write(path, content)?;
        }
        // As on a node: what a reboot clears is cleared under both names.
        std::os::unix::fs::symlink("../run", root.join("var/run"))?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&disk)?;
        let [slot_a, _] = flatcar_disk::partition(&file, SLOT_MIB)?;
        file.write_all_at(&factory.image, slot_a)?;
        Ok(Self {
            root,
            disk,
            meeting: Meeting::arrange(directory),
            running: SlotName::A,
            versions: HashMap::from([(SlotName::A, factory.version)]),
            daemon: None,
        })
    }

    /// Powers the machine on: the loader chooses, and must choose `expected`; the daemon starts.
    pub fn boot(&mut self, expected: SlotName) -> Outcome {
        self.power_on(expected)?;
        let release = self.root.join("usr/share/flatcar/release");
        fs::create_dir_all(self.root.join("usr/share/flatcar"))?;
        fs::write(release, format!("FLATCAR_RELEASE_VERSION={}\n", self.version()))?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut daemon = program("update_engine");
        daemon
            .arg("-foreground")
            .arg("-logtostderr")
            .arg("--root")
            .arg(&self.root);
        daemon
            .arg("--disk")
            .arg(&self.disk)
            .arg("--running-slot")
            .arg(letter(self.running));
        if !can_mount() {
            say("not root: the new system's postinst is left out, since its image can't be mounted");
            daemon.arg("--skip-postinst");
        }
        self.meeting.tell(&mut daemon);
        let daemon = daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = self.daemon.insert(daemon.spawn()?);
        self.meeting.await_daemon(daemon, PATIENCE)?;
        self.await_status(|status| status.contains("CURRENT_OP=UPDATE_STATUS_IDLE"))
            .map(drop)
    }

    /// Shuts down and boots again.
    pub fn reboot(&mut self, expected: SlotName) -> Outcome {
        self.halt()?;
        self.boot(expected)
    }

    /// Boots into something that hangs before the daemon could start; a watchdog resets the
    /// machine.
    pub fn reboot_into_a_hang(&mut self, expected: SlotName) -> Outcome {
        self.halt()?;
        self.power_on(expected)?;
        say("... and hangs; nobody marks it good. The watchdog resets the machine.");
        Ok(())
    }

    fn power_on(&mut self, expected: SlotName) -> Outcome {
        // What /run held is gone with the power.
        fs::remove_dir_all(self.root.join("run"))?;
        fs::create_dir_all(self.root.join("run"))?;
        self.running = loader::boot(&self.disk)?;
        say(&format!("the loader boots {} ({})", self.running, self.version()));
        if self.running != expected {
            return Err(format!("{expected} was to be booted").into());
        }
        Ok(())
    }

    /// Stops the daemon as systemd does.
    pub fn halt(&mut self) -> Outcome {
        if let Some(mut daemon) = self.daemon.take() {
            kill(Pid::from_raw(daemon.id().try_into()?), Signal::SIGTERM)?;
            daemon.wait()?;
        }
        Ok(())
    }

    /// `update_engine_client -check_for_update`.
    pub fn check_for_update(&self) -> Outcome {
        say("$ update_engine_client -check_for_update");
        succeed(self.client().arg("-check_for_update")).map(drop)
    }

    /// Shows the download moving until the update waits for its reboot.
    pub fn await_reboot_needed(&mut self, update: &Payload) -> Outcome {
        let mut bar = Bar::default();
        let last = self.await_status(|status| {
            if value(status, "CURRENT_OP") == "UPDATE_STATUS_DOWNLOADING" {
                bar.show(value(status, "PROGRESS"));
            }
            ["IDLE", "UPDATED_NEED_REBOOT"]
                .iter()
                .any(|word| value(status, "CURRENT_OP").ends_with(word))
        })?;
        bar.close();
        for key in ["CURRENT_OP", "NEW_VERSION"] {
            say(&format!("{key}={}", value(&last, key)));
        }
        if value(&last, "NEW_VERSION") != update.version {
            return Err(format!("{} was not installed:\n{}", update.version, self.log_tail()?).into());
        }
        self.versions.insert(!self.running, update.version);
        Ok(())
    }

    /// Until the attempt is over, which must leave the daemon idle.
    pub fn await_idle(&self) -> Outcome {
        let last = self.await_status(|status| {
            ["IDLE", "UPDATED_NEED_REBOOT"]
                .iter()
                .any(|word| value(status, "CURRENT_OP").ends_with(word))
        })?;
        match value(&last, "CURRENT_OP") {
            "UPDATE_STATUS_IDLE" => Ok(()),
            other => Err(format!("{other}, though nothing may be installed now").into()),
        }
    }

    /// Asks with the client until `done`; the last answer.
    fn await_status(&self, mut done: impl FnMut(&str) -> bool) -> Outcome<String> {
        let begun = Instant::now();
        loop {
            let status = succeed(self.client().arg("-status"))?;
            if done(&status) {
                return Ok(status);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the daemon does not get on:\n{status}{}", self.log_tail()?).into());
            }
            thread::sleep(GLANCE);
        }
    }

    /// The slot table, as the disk has it.
    pub fn print_slots(&self) -> Outcome {
        say("slot    version   priority  tries  successful");
        for row in self.slots()?.table()? {
            let version = self.versions.get(&row.slot).unwrap_or(&"-");
            let (priority, tries) = (row.attributes.priority().get(), row.attributes.tries().get());
            let good = if row.attributes.is_successful() {
                "yes"
            } else {
                "no"
            };
            say(&format!(
                "{}   {version:<10}{priority:<10}{tries:<7}{good}",
                row.slot
            ));
        }
        Ok(())
    }

    /// The daemon's own words for why the last attempt failed.
    pub fn last_failure(&self) -> Outcome<String> {
        let log = fs::read_to_string(self.log())?;
        let told = log
            .lines()
            .rev()
            .find_map(|line| line.split_once("update attempt failed "));
        let (_, why) = told.ok_or("the daemon's log names no failure")?;
        Ok(why.to_owned())
    }

    /// The disk, as the daemon finds it.
    pub fn slots(&self) -> Outcome<SlotDisk> {
        Ok(SlotDisk::open(&self.disk, self.running)?)
    }

    /// A file of the node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn log(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    fn log_tail(&self) -> io::Result<String> {
        let log = fs::read_to_string(self.log())?;
        let lines: Vec<_> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    fn version(&self) -> &'static str {
        self.versions.get(&self.running).copied().unwrap_or("nothing")
    }

    fn client(&self) -> Command {
        let mut client = program("update_engine_client");
        self.meeting.tell(&mut client);
        client
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// The value of `KEY=value` in what `-status` prints.
fn value<'a>(status: &'a str, key: &str) -> &'a str {
    let lines = status.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .next_back()
        .unwrap_or("")
}

fn letter(slot: SlotName) -> &'static str {
    match slot {
        SlotName::A => "A",
        SlotName::B => "B",
    }
}

/// Whether an image can be mounted: as root, where there are loop devices.
fn can_mount() -> bool {
    nix::unistd::geteuid().is_root() && File::options().write(true).open("/dev/loop-control").is_ok()
}
