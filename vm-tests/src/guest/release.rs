//! Release: an image for the slot, a kernel, and the payload with both.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use payload_format::{Compression, MajorVersion};
use update_engine::payload::{GenerateOptions, generate};

use super::conduct::Conduct;
use super::handover::Takeover;
use super::hang::{Deadline, Hang};
use super::{Daemon, Debian, RootHash, Workshop, filesystem, hash_tree, initrd, systemd_initrd};
use crate::command::{run, tool};
use crate::{denials, files};

/// Files of ours below `/usr`, whatever the release.
const OURS: [(&str, &[u8]); 3] = [
    (
        "lib/systemd/system/vm-shell.service",
        include_bytes!("../../guest/vm-shell.service"),
    ),
    (
        "lib/systemd/system/vm-app.service",
        include_bytes!("../../guest/vm-app.service"),
    ),
    (
        "lib/systemd/system/update-engine-activate.service.d/emulated.conf",
        include_bytes!("../../guest/emulated.conf"),
    ),
];
const SHELL: &[u8] = include_bytes!("../../guest/shell");
pub(super) const POSTINST: &[u8] = include_bytes!("../../guest/postinst");
/// The node's application.
const APP: &[u8] = b"#!/bin/sh\necho 'the application runs'\n";
/// The same, broken.
const BROKEN_APP: &[u8] = b"#!/bin/sh\necho 'the application misses its data' >&2\nexit 7\n";
/// A program of the image that operators' units run.
const HELPER: &[u8] = b"#!/bin/sh\nexec sleep infinity\n";
/// The same, broken.
const BROKEN_HELPER: &[u8] = b"#!/bin/sh\nexit 7\n";
/// Setting that turns the gate without configuration off.
const UNGATED: &str = "HEALTH_REGRESSIONS=off\n";
/// Programs of a release with the reboot manager: they record when they ran, with what, and as which unit, where the
/// manager's own unit can't write. Not in `/etc`, from whose extensions systemd lets nothing be executed.
const PROGRAMS: [&str; 2] = ["pre-reboot.d", "post-good.d"];
/// Settings of every node before it has a server.
const SETTINGS: &str = "GROUP=stable\nSERVER=disabled\n";

/// File in a slot that turns extensions off.
const NO_EXTENSIONS: (&str, &[u8]) = (
    "lib/systemd/system/systemd-sysext.service.d/off.conf",
    b"[Unit]\nConditionPathExists=/nowhere\n",
);
const NO_DAEMON: (&str, &[u8]) = (".noupdate", b"");
/// The directory is made before it is mounted.
const OWN_RECORDS: (&str, &[u8]) = (
    "lib/systemd/system/update-engine.service.d/own-records.conf",
    b"[Service]\nStateDirectory=own-records\nBindPaths=/var/lib/own-records:/var/lib/update_engine\n",
);

/// What a release's initrd is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initrd {
    /// busybox and a script.
    Busybox,
    /// systemd, as dracut and mkosi-initrd make them. The unit in it arms the trial deadline if one is set.
    Systemd,
}

/// Recipe of a release: what differs from others.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each may go with any of the others")]
pub(crate) struct Recipe<'a> {
    /// Its version.
    pub(crate) version: &'a str,
    /// Its behaviour.
    pub(crate) conduct: Conduct,
    /// Its daemon.
    pub(crate) daemon: Daemon,
    /// Whether the extension of `/usr` is merged.
    pub(crate) extended: bool,
    /// Whether what the release before had is looked for when it is to be marked good.
    pub(crate) gated: bool,
    /// Whether it brings the reboot manager, which nothing enables.
    pub(crate) reboot_manager: bool,
    /// Where it stops for good, if it does.
    pub(crate) hang: Option<Hang>,
    /// What becomes of a watchdog that the slot loader has armed, if its kernel takes that over.
    pub(crate) takeover: Option<Takeover>,
    /// Whether its postinst says so to the loader.
    pub(crate) handover: bool,
    /// Who arms its trial deadline.
    pub(crate) deadline: Deadline,
    /// What its initrd is made of.
    pub(crate) initrd: Initrd,
    /// Whether its payload is one of Flatcar's kind, compressed, of version 1; else it is plain, of
    /// version 2.
    pub(crate) compressed: bool,
    /// Whether its image is of Flatcar's kind: a btrfs that this machine's kernel has compressed, and a hash tree behind
    /// it; else it is ext2.
    pub(crate) flatcar_image: bool,
    /// Whether such an image is mounted through dm-verity; else as it lies in the slot.
    pub(crate) guarded: bool,
    /// The `cgpt` by which its postinst switches the slot by itself; none if it doesn't.
    pub(crate) cgpt: Option<&'a Path>,
}

impl<'a> Recipe<'a> {
    /// A release with today's daemon and the extension, as nearly all are. Its payload is not
    /// compressed: unpacking takes an emulated processor four times as long as all the rest of an
    /// update.
    pub(crate) fn new(version: &'a str, conduct: Conduct) -> Self {
        Self {
            version,
            conduct,
            daemon: Daemon::Todays,
            extended: true,
            gated: true,
            reboot_manager: false,
            hang: None,
            takeover: None,
            handover: false,
            deadline: Deadline::Off,
            initrd: Initrd::Busybox,
            compressed: false,
            flatcar_image: false,
            guarded: true,
            cgpt: None,
        }
    }
}

/// A release, ready to be installed or offered.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// Its version.
    pub(crate) version: String,
    /// Whether the extension of `/usr` is merged.
    pub(crate) extended: bool,
    /// The system that it was made of.
    pub(crate) debian: Debian,
    compressed: bool,
    /// Root of the hash tree behind its file system, if it has one; its kernel carries it.
    pub(crate) root_hash: Option<RootHash>,
    /// Filesystem for a slot, and what lies behind it.
    pub(crate) image: PathBuf,
    /// Kernel and initrd as one EFI application.
    pub(crate) kernel: PathBuf,
    /// Both, signed.
    pub(crate) payload: PathBuf,
}

impl Workshop {
    /// A release whose files are in `directory`, none of which is made yet.
    pub(super) fn release_in(&self, directory: &Path, version: &str) -> Release {
        Release {
            version: version.to_owned(),
            extended: true,
            debian: self.packages.debian,
            compressed: false,
            root_hash: None,
            image: directory.join(format!("usr-{version}.img")),
            kernel: directory.join(format!("vmlinuz-{version}")),
            payload: directory.join(format!("payload-{version}")),
        }
    }

    /// Makes a release in `directory`, all but its payload.
    pub(crate) fn release(&self, directory: &Path, recipe: &Recipe<'_>) -> Result<Release> {
        let mut release = Release {
            extended: recipe.extended,
            compressed: recipe.compressed,
            ..self.release_in(directory, recipe.version)
        };
        self.slot_image(directory, &release, recipe)?;
        if recipe.flatcar_image {
            let mut image = files::read(&release.image)?;
            release.root_hash = Some(RootHash::new(hash_tree::append(&mut image)));
            files::write(&release.image, &image)?;
        }
        self.kernel(&release, recipe)?;
        Ok(release)
    }

    /// Makes the payload of a release, if it isn't there yet.
    pub(crate) fn payload(&self, release: &Release) -> Result<()> {
        if release.payload.exists() {
            return Ok(());
        }
        let (version, compressions) = if release.compressed {
            (MajorVersion::V1, vec![Compression::Bzip2])
        } else {
            (MajorVersion::V2, Vec::new())
        };
        let options = GenerateOptions {
            version,
            compressions,
            ..self.payload_options(release)
        };
        generate(&options, &release.payload).context("cannot make a payload")?;
        Ok(())
    }

    /// Makes the content payload of a release.
    pub(crate) fn content_payload(&self, release: &Release) -> Result<PathBuf> {
        let content = release.payload.with_extension("content");
        let options = GenerateOptions {
            content: true,
            ..self.payload_options(release)
        };
        generate(&options, &content).context("cannot make a content payload")?;
        Ok(content)
    }

    /// A payload of version 2, plain.
    fn payload_options(&self, release: &Release) -> GenerateOptions {
        GenerateOptions {
            old: None,
            extra_partitions: Vec::new(),
            image: release.image.clone(),
            kernel: Some(release.kernel.clone()),
            content: false,
            predecessors: Vec::new(),
            version: MajorVersion::V2,
            compressions: Vec::new(),
            os_release: None,
            private_keys: vec![self.private_key.clone()],
        }
    }

    fn slot_image(&self, directory: &Path, release: &Release, recipe: &Recipe<'_>) -> Result<()> {
        let tree = tempfile::tempdir_in(directory)?;
        let at = |path: &str| tree.path().join(path);
        run(tool("cp")
            .arg("-a")
            .arg(self.packages.userland().join("usr/."))
            .arg(tree.path()))?;
        self.daemon(recipe.daemon)?.add_to(tree.path())?;
        if recipe.reboot_manager {
            self.add_reboot_manager(tree.path())?;
        }
        for (path, contents) in OURS {
            files::write(&at(path), contents)?;
        }
        let (drop_in, contents) = denials::DROP_IN;
        for unit in denials::UNITS {
            files::write(&at(&format!("lib/systemd/system/{unit}.d/{drop_in}")), contents)?;
        }
        files::program(&at("libexec/vm-shell"), SHELL)?;
        files::program(&at("postinst"), POSTINST)?;
        if let Some(cgpt) = recipe.cgpt {
            // The host's is older, and has the same few libraries.
            files::program(&at("sbin/cgpt"), &files::read(cgpt)?)?;
        }
        self.add_conduct(tree.path(), release, recipe)?;
        let key = files::read(&self.public_key)?;
        files::write(&at("share/update_engine/update-payload-key.pub.pem"), &key)?;
        let off = [
            (!recipe.extended, NO_EXTENSIONS),
            (recipe.conduct == Conduct::Unattended, NO_DAEMON),
            (recipe.conduct == Conduct::Forgetful, OWN_RECORDS),
        ];
        for (_, (path, contents)) in off.into_iter().filter(|(is_off, _)| *is_off) {
            files::write(&at(path), contents)?;
        }
        recipe.deadline.add_to(tree.path())?;
        if let Some(hang) = recipe.hang {
            hang.add_to(tree.path())?;
        }
        if let Some(takeover) = recipe.takeover {
            takeover.add_to(tree.path(), recipe.handover)?;
        }
        // No larger than it has to be: each byte is downloaded, written, read back and hashed by an
        // emulated processor.
        let len = filesystem::least(tree.path())?;
        if recipe.flatcar_image {
            return filesystem::btrfs(&release.image, tree.path(), len);
        }
        filesystem::image(&release.image, tree.path(), "ext2", len)
    }

    /// What the release says of itself, its settings, and what makes it behave as it is to.
    fn add_conduct(&self, tree: &Path, release: &Release, recipe: &Recipe<'_>) -> Result<()> {
        let at = |path: &str| tree.join(path);
        files::program(
            &at("share/vm/app"),
            if recipe.conduct.works() { APP } else { BROKEN_APP },
        )?;
        let identity = format!(
            "FLATCAR_RELEASE_VERSION={}\nFLATCAR_RELEASE_BOARD={}-usr\n",
            release.version,
            self.architecture.debian()
        );
        files::write(&at("share/flatcar/release"), identity.as_bytes())?;
        if let Some(helper) = helper(recipe.conduct) {
            files::program(&at("share/vm/helper"), helper)?;
        }
        if recipe.conduct == Conduct::LosesExtensions {
            change_os_release(&at("lib/os-release"))?;
        }
        let gate = if recipe.gated { "" } else { UNGATED };
        let deadline = recipe.deadline.settings(recipe.hang);
        let settings = format!("{SETTINGS}{}{gate}{deadline}", recipe.conduct.settings());
        files::write(&at("share/flatcar/update.conf"), settings.as_bytes())
    }

    /// The reboot manager, and programs that record as which unit it runs them.
    fn add_reboot_manager(&self, tree: &Path) -> Result<()> {
        self.reboot_manager()?.add_to(tree)?;
        for moment in PROGRAMS {
            let program = format!(
                "#!/bin/sh\necho {moment} \"$1\" \"$(cat /proc/self/cgroup)\" >>/var/lib/programs-ran\n"
            );
            let directory = tree.join("lib/update-engine").join(moment);
            files::program(&directory.join("10-vm"), program.as_bytes())?;
        }
        Ok(())
    }

    fn kernel(&self, release: &Release, recipe: &Recipe<'_>) -> Result<()> {
        let make = match recipe.initrd {
            Initrd::Busybox => initrd::image,
            Initrd::Systemd => systemd_initrd::image,
        };
        let initrd = make(&self.cache, &self.packages, &release.version, recipe)?;
        let stub = self.packages.stub();
        let base = image_base(&files::read(&stub)?)
            .with_context(|| format!("{} is no EFI application", stub.display()))?;
        let kernel = self.packages.kernel()?;
        // Behind the kernel, which is not compressed on arm64.
        let behind = std::fs::metadata(&kernel)?.len().next_multiple_of(0x200_0000);
        let mut join = tool(self.architecture.objcopy());
        // The stub looks for these sections; the addresses only have to lie behind its own and
        // apart.
        for (name, file, offset) in [
            (".linux", &kernel, 0x200_0000),
            (".initrd", &initrd, 0x200_0000 + behind),
        ] {
            join.arg("--add-section")
                .arg(format!("{name}={}", file.display()))
                .arg("--change-section-vma")
                .arg(format!("{name}={:#x}", base + offset));
        }
        run(join.arg(&stub).arg(&release.kernel))?;
        match &release.root_hash {
            Some(hash) => hash.write_into_application(&release.kernel, self.architecture),
            None => Ok(()),
        }
    }
}

/// The program of the image that operators' units run.
fn helper(conduct: Conduct) -> Option<&'static [u8]> {
    match conduct {
        Conduct::LacksHelper => None,
        Conduct::BreaksHelper => Some(BROKEN_HELPER),
        _ => Some(HELPER),
    }
}

/// Makes the system another version of its distribution, which extensions of this one don't fit.
pub(super) fn change_os_release(path: &Path) -> Result<()> {
    let text = String::from_utf8(files::read(path)?).context("os-release is no text")?;
    let lines = text.lines().filter(|line| !line.starts_with("VERSION_ID="));
    let changed: String = lines
        .chain(["VERSION_ID=99"])
        .flat_map(|line| [line, "\n"])
        .collect();
    files::write(path, changed.as_bytes())
}

/// Base address of a 64-bit EFI application.
fn image_base(application: &[u8]) -> Option<u64> {
    let at = u32::from_le_bytes(application.get(0x3c..0x40)?.try_into().ok()?);
    let headers = application.get(usize::try_from(at).ok()?..)?;
    (headers.get(..4)? == b"PE\0\0").then_some(u64::from_le_bytes(
        headers.get(24 + 24..24 + 32)?.try_into().ok()?,
    ))
}
