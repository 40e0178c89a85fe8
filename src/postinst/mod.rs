//! Postinst: the part that an image takes in its own installation.
//!
//! Called as `IMAGE/postinst DEVICE [KERNEL=FILE] [PCR_POLICY=FILE]` by whichever engine runs on
//! the node, the original's included, once the image lies in its slot and is mounted at `IMAGE`.
//! Exit status 0 says that the slot may boot. The steps, in order; whatever fails ends it, with
//! nothing after that done:
//!
//! ```text
//!  slot of DEVICE ─▶ the OEM's hook ─▶ versions: IMAGE's, the running one's
//!   ─▶ extensions: old ones removed, new ones downloaded, verified, put in place     slot can't boot yet
//!   ─▶ leftovers, cgroups ─▶ slot boots next, once ─▶ table shown ─▶ reboot asked for
//! ```
//!
//! Invariant: no slot is made bootable whose extensions are missing. Extensions carry their version
//! in their name, so that those of an image that never boots do no harm; the next image's postinst
//! removes them.

mod extension;
mod opaque;
mod package_sources;
mod release;

use std::fs::Metadata;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use crate::config::{KeyValues, OEM_FILES};
use crate::disk::{DiskError, SlotDisk, SlotRow};
use crate::extension::ExtensionError;
use crate::host::{Host, Unreadable};
use crate::reboot::RebootRequest;
use extension::VersionExtensions;
pub use package_sources::StoredResponseError;
use release::Release;
pub use release::ReleaseError;

const OEM_HOOK: &str = "/usr/share/oem/bin/oem-postinst";
/// File that exists only on systems with version 2 control groups alone.
const UNIFIED_CGROUPS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// Flatcar's type of slots, as `cgpt` prints it.
const TYPE: &str = "5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6";

/// Reason for which the image must not boot.
#[derive(Debug, thiserror::Error)]
pub enum PostinstRefusal {
    /// The device is no slot, or its disk can't be used.
    #[error("cannot tell the slot of {}", device.display())]
    Slot {
        /// Path of the device, as given.
        device: PathBuf,
        /// The underlying error.
        source: DiskError,
    },
    /// The OEM's hook couldn't be run.
    #[error("cannot run {OEM_HOOK}")]
    Hook(#[source] io::Error),
    /// The OEM's hook failed.
    #[error("{OEM_HOOK}: {0}")]
    HookFailed(ExitStatus),
    /// The release of one of the two systems can't be read.
    #[error("cannot tell versions")]
    Release(#[from] ReleaseError),
    /// The server's last answer can't be used.
    #[error("cannot tell what the server offers")]
    Response(#[from] StoredResponseError),
    /// A setting of the operator, the OEM or the system can't be read.
    #[error("cannot tell what is set")]
    Unreadable(#[from] Unreadable),
    /// An extension of the new version can't be installed.
    #[error("{package} for the new version can't be had")]
    Extension {
        /// Name of the package.
        package: String,
        /// The underlying error.
        source: Box<ExtensionError>,
    },
    /// A directory of extensions can't be read or changed.
    #[error("cannot change {}", path.display())]
    Directory {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
    /// The node uses version 1 control groups, which new systems don't support.
    #[error(
        "the node uses control groups of version 1 ({UNIFIED_CGROUPS} is missing): the new image would not boot"
    )]
    Cgroups,
    /// The slot can't be made to boot next.
    #[error("cannot make the slot boot next")]
    Boot(#[source] DiskError),
    /// A reboot can't be requested.
    #[error("cannot ask for a reboot")]
    Reboot(#[source] io::Error),
}

impl PostinstRefusal {
    /// The exit status: a hook's own, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::HookFailed(status) => status.code().and_then(|code| u8::try_from(code).ok()),
            _ => None,
        }
        .filter(|code| *code != 0)
        .unwrap_or(1)
    }
}

/// The postinst of one image in its slot.
#[derive(Debug, Clone)]
pub struct Postinst {
    /// The node that it runs on.
    pub host: Host,
    /// Mount point of the image.
    pub image: PathBuf,
    /// The slot's device, a path of the host.
    pub device: PathBuf,
}

impl Postinst {
    /// Runs all steps; prints the same as the original's script: the slot's row of the table and
    /// the release.
    ///
    /// # Errors
    /// [`PostinstRefusal`]; the slot boots no sooner than it did.
    pub async fn run(&self) -> Result<(), PostinstRefusal> {
        let no_slot = |source| PostinstRefusal::Slot {
            device: self.device.clone(),
            source,
        };
        let disk = SlotDisk::for_target(&self.host, &self.device.to_string_lossy()).map_err(no_slot)?;
        let slot = !disk.running();
        self.run_hook(&slot.letter().to_ascii_uppercase().to_string())?;
        let new = Release::of_image(&self.image)?;
        let running = Release::running(&self.host)?;
        VersionExtensions::new(&self.host, &self.image, &new, &running)
            .update(&self.oem()?)
            .await?;
        opaque::remove(&self.host);
        if !self.host.is_there(UNIFIED_CGROUPS)? {
            return Err(PostinstRefusal::Cgroups);
        }
        disk.make_next(slot).map_err(PostinstRefusal::Boot)?;
        let rows = disk.table().map_err(PostinstRefusal::Boot)?;
        rows.iter().filter(|row| row.slot == slot).for_each(show);
        print!("{}", new.text);
        RebootRequest::of(&self.host)
            .make()
            .map_err(PostinstRefusal::Reboot)
    }

    fn run_hook(&self, slot: &str) -> Result<(), PostinstRefusal> {
        let hook = self.host.path(OEM_HOOK);
        let found = self.host.look_at(OEM_HOOK)?;
        if !found.is_some_and(|found| is_executable(&found)) {
            return Ok(());
        }
        let status = Command::new(hook).arg(slot).arg(&self.image).status();
        match status.map_err(PostinstRefusal::Hook)? {
            status if status.success() => Ok(()),
            status => Err(PostinstRefusal::HookFailed(status)),
        }
    }

    /// The OEM's name; empty if there is none.
    fn oem(&self) -> Result<String, Unreadable> {
        let text = self.host.read(OEM_FILES[1])?.unwrap_or_default();
        let values = KeyValues::parse(&String::from_utf8_lossy(&text));
        Ok(values.get("ID").unwrap_or_default().to_owned())
    }
}

fn is_executable(found: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.is_file() && found.permissions().mode() & 0o111 != 0
}

/// Prints the slot's row of the partition table as `cgpt show` does: scripts look for what follows
/// `Attr:`.
fn show(row: &SlotRow) {
    println!("       start        size    part  contents");
    println!(
        "{:12}{:12}{:8}  Label: \"{}\"",
        row.first_lba, row.sectors, row.partition, row.slot
    );
    let indent = " ".repeat(34);
    println!("{indent}Type: {TYPE}");
    println!("{indent}UUID: {}", row.partuuid.to_uppercase());
    println!("{indent}Attr: {} ", row.attributes);
}
