//! A dummy disk in place of the slots' disk, for programs that switch slots by themselves: a loop
//! device that looks like the disk, with both copies of its table, one partition, and nothing
//! between them; its writes go nowhere.
//!
//! ```text
//!   rule for udev, loop N ─▶ udev reads it ─▶ loop N attached ─▶ partition added … removed ─▶ loop free ─▶ rule removed
//! ```
//! The partition has the label and the UUID of the slot: udev would point `/dev/disk/by-partuuid`
//! and its like to it, for everybody. The rule keeps it from that. The kernel frees a loop device
//! when its last user is gone, but leaves partitions that were added to it: after a crash the rule
//! says where to look for one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::ioctl::{self, LoopKind};
use super::sealed::loop_over;
use crate::host::Host;

/// Bytes at either end of the disk that are copied: both copies of a table, whatever its sectors.
const ENDS: u64 = 2 << 20;
/// Where its bytes are kept, on a tmpfs; the name is gone at once, but the kernel shows it.
const BACKING: &str = "/run/update_engine/dummy-disk";
/// The rule, read before all others.
const RULE: &str = "/run/udev/rules.d/00-update-engine-dummy-disk.rules";
/// Whoever has udev running has this.
const UDEV_CONTROL: &str = "/run/udev/control";
/// Between two attempts to remove a partition that somebody looks at, as udev does now and then.
const PAUSE: Duration = Duration::from_millis(50);
/// How often that is tried.
const ATTEMPTS: usize = 40;

/// A loop device with a disk's partition table and one of its partitions. Both go when this is dropped.
#[derive(Debug)]
pub struct DummyDisk {
    disk: PathBuf,
    device: PathBuf,
    number: u32,
    /// Held open, so that nobody has the kernel read the table anew and forget the partition.
    partition: Option<File>,
    loop_device: File,
    // Last: while there is anything, udev is to know of it.
    rule: UdevRule,
}

impl DummyDisk {
    /// A dummy disk in place of `disk`, with the partition of that number, at that offset and of that many
    /// bytes. A rule for udev is there as long as it is.
    pub(super) fn of(host: &Host, disk: &Path, (number, start, len): (u32, u64, u64)) -> io::Result<Self> {
        Self::remove_leftover(host)?;
        let source = File::open(disk)?;
        let disk_len = io::Seek::seek(&mut &source, io::SeekFrom::End(0))?;
        let sector = ioctl::sector_size(&source)?;
        let copy = backing(&host.path(BACKING))?;
        copy.set_len(disk_len)?;
        let ends = ENDS.min(disk_len / 2);
        for at in [0, disk_len - ends] {
            copy_range(&source, &copy, at, ends)?;
        }
        let rule = UdevRule::new(host);
        let kind = LoopKind::Writable { sector };
        let announce = |number| rule.announce(number);
        let (device, loop_device) = loop_over(&copy, (0, disk_len), kind, announce)?;
        let mut dummy = Self {
            disk: disk.to_path_buf(),
            device,
            number,
            partition: None,
            loop_device,
            rule,
        };
        ioctl::add_partition(&dummy.loop_device, number, (start, len))?;
        match File::open(dummy.partition()) {
            Ok(partition) => dummy.partition = Some(partition),
            Err(error) => {
                dummy.remove_partition();
                return Err(error);
            }
        }
        Ok(dummy)
    }

    /// Removes what an engine that was killed has left of one.
    ///
    /// # Errors
    /// If its partition is still in use, or the kernel doesn't say: the rule stays then.
    pub fn remove_leftover(host: &Host) -> io::Result<()> {
        let rule = match fs::read_to_string(host.path(RULE)) {
            Ok(rule) => rule,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(number) = loop_of(&rule) {
            remove_partitions_left(host, number)?;
        }
        drop(UdevRule::new(host));
        tracing::info!("what was left of a dummy disk is removed");
        Ok(())
    }

    /// The disk in whose place it is to be seen.
    #[must_use]
    pub fn disk(&self) -> &Path {
        &self.disk
    }

    /// The loop device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// The node of its partition.
    #[must_use]
    pub fn partition(&self) -> PathBuf {
        PathBuf::from(format!("{}p{}", self.device.display(), self.number))
    }

    fn remove_partition(&mut self) {
        let mut removed = Ok(());
        for _ in 0..ATTEMPTS {
            removed = ioctl::remove_partition(&self.loop_device, self.number);
            let busy = removed
                .as_ref()
                .is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy);
            if !busy {
                break;
            }
            thread::sleep(PAUSE);
        }
        if let Err(error) = removed {
            let partition = self.partition();
            tracing::warn!(partition = %partition.display(), %error, "a partition of a loop device stays until the next start");
            self.rule.stays = true;
        }
    }
}

impl Drop for DummyDisk {
    fn drop(&mut self) {
        if self.partition.take().is_some() {
            self.remove_partition();
        }
    }
}

/// What udev is told of the loop device; no longer when this is dropped, unless it is to stay.
#[derive(Debug)]
struct UdevRule {
    host: Host,
    stays: bool,
}

impl UdevRule {
    fn new(host: &Host) -> Self {
        Self {
            host: host.clone(),
            stays: false,
        }
    }

    /// Has udev make no links to the loop device of this number and its partitions, and not watch them.
    fn announce(&self, number: u32) -> io::Result<()> {
        let path = self.host.path(RULE);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let text = format!(
            "# No disk: what the update engine shows an image's postinst in place of the slots' disk.\n\
             SUBSYSTEM==\"block\", KERNEL==\"loop{number}|loop{number}p*\", \
             ENV{{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}}=\"1\", OPTIONS:=\"nowatch\"\n"
        );
        fs::write(path, text)?;
        self.reload()
    }

    /// udev looks for new rules every three seconds only, unless it is told to.
    fn reload(&self) -> io::Result<()> {
        if !self.host.path(UDEV_CONTROL).try_exists()? {
            return Ok(());
        }
        let mut udevadm = Command::new("udevadm");
        udevadm.args(["control", "--reload", "--timeout=10"]);
        // It can't tell, being kept from seeing the first process, and would do nothing.
        udevadm.env("SYSTEMD_IGNORE_CHROOT", "1").stdin(Stdio::null());
        let output = udevadm.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(io::Error::other(format!("udevadm control --reload: {said}")))
    }
}

impl Drop for UdevRule {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let removed = match fs::remove_file(self.host.path(RULE)) {
            // Nothing was announced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            removed => removed.and_then(|()| self.reload()),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "a rule for udev stays for a while");
        }
    }
}

/// The number of the loop device that a rule of ours is about.
fn loop_of(rule: &str) -> Option<u32> {
    let (_, rest) = rule.split_once("KERNEL==\"loop")?;
    let (number, _) = rest.split_once('|')?;
    number.parse().ok()
}

/// Removes partitions of loop device `number`, unless it is somebody else's by now.
fn remove_partitions_left(host: &Host, number: u32) -> io::Result<()> {
    let directory = host.path(&format!("/sys/block/loop{number}"));
    match fs::read_to_string(directory.join("loop/backing_file")) {
        Ok(backing) if !Path::new(backing.trim_end()).starts_with(host.path("/run/update_engine")) => {
            return Ok(());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let prefix = format!("loop{number}p");
    for entry in entries {
        let name = entry?.file_name();
        let partition = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if let Some(partition) = partition.and_then(|partition| partition.parse().ok()) {
            ioctl::remove_partition(&File::open(format!("/dev/loop{number}"))?, partition)?;
        }
    }
    Ok(())
}

/// A file without a name: nobody needs it, and nothing is to stay.
fn backing(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn copy_range(from: &File, to: &File, start: u64, len: u64) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    let mut done = 0;
    while done < len {
        let left = usize::try_from(len - done)
            .unwrap_or(piece.len())
            .min(piece.len());
        from.read_exact_at(&mut piece[..left], start + done)?;
        to.write_all_at(&piece[..left], start + done)?;
        done += left as u64;
    }
    Ok(())
}
