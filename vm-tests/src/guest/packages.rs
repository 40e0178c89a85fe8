//! Debian packages, installed by mmdebstrap on any host: fetched once, kept until `target` is
//! cleaned.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::fingerprint;
use crate::architecture::Architecture;
use crate::command::{is_root, run, tool};

/// The release of Debian that runs in the guests, whatever the host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Debian {
    /// Debian 12, with systemd 252, which merges no extensions of `/etc`, and doesn't look at its
    /// units anew after it has merged those of `/usr`.
    #[value(name = "debian-12")]
    Bookworm,
    /// Debian 13, with systemd 257.
    #[value(name = "debian-13")]
    Trixie,
}

impl Debian {
    /// Its name in Debian's archive.
    const fn suite(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Its `VERSION_ID`.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Bookworm => "12",
            Self::Trixie => "13",
        }
    }

    /// Version of its systemd.
    pub(crate) const fn systemd(self) -> u32 {
        match self {
            Self::Bookworm => 252,
            Self::Trixie => 257,
        }
    }

    /// Whether its systemd merges extensions of `/etc`.
    pub(crate) const fn has_confexts(self) -> bool {
        self.systemd() >= 254
    }
}

/// Keys of Debian, from the package `debian-archive-keyring`: other hosts don't trust them by
/// default.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Packages of the userland beyond Debian's essential ones.
const USERLAND: &str = "systemd,systemd-sysv,dbus,udev,kmod,util-linux,mount,busybox-static";
/// Of Debian's essential packages those that the guests use, where packages can only be unpacked.
const EXTRACTED: &str = "base-files,bash,bsdutils,coreutils,dash,debianutils,findutils,grep,gzip,hostname,\
                         init-system-helpers,libc-bin,ncurses-base,sed,sysvinit-utils,tar";
/// Paths that no test needs: half of the size.
const LEFT_OUT: [&str; 4] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
];
const ADD_KERNEL: &str = include_str!("../../guest/add-kernel");
/// Device nodes, which the guest's kernel makes itself; what only Debian's own scripts need, while
/// the userland is put together; what no machine here has or does. All of the rest is in each
/// payload.
const NOT_UNPACKED: [&str; 32] = [
    "./dev/*",
    "./usr/bin/*dpkg*",
    "./usr/bin/localedef",
    "./usr/bin/perl*",
    "./usr/include",
    "./usr/lib/*/engines-3",
    "./usr/lib/*/gconv",
    "./usr/lib/*/libdb-*",
    "./usr/lib/*/libsqlite3*",
    "./usr/lib/*/libssl.*",
    "./usr/lib/*/ossl-modules",
    "./usr/lib/*/perl*",
    "./usr/lib/apt",
    "./usr/lib/dpkg",
    "./usr/lib/locale",
    "./usr/lib/systemd/systemd-networkd",
    "./usr/lib/udev/hwdb.*",
    "./usr/sbin/*dpkg*",
    "./usr/sbin/ldconfig",
    "./usr/share/bash-completion",
    "./usr/share/debconf",
    "./usr/share/dpkg",
    "./usr/share/i18n",
    "./usr/share/lintian",
    "./usr/share/perl*",
    "./usr/share/terminfo",
    "./usr/share/zoneinfo",
    "./usr/share/zsh",
    "./usr/src",
    "./var/cache/apt/*",
    "./var/lib/apt/*",
    "./var/lib/dpkg/*",
];

/// Files from Debian's packages.
pub(super) struct Packages {
    directory: PathBuf,
    /// Where those of the kernel are: that of Debian 13 with either userland, since drivers that one has
    /// built in are modules in another.
    kernel: PathBuf,
    /// For which they are.
    pub(super) architecture: Architecture,
    /// Of which they are.
    pub(super) debian: Debian,
}

impl Packages {
    /// Fetches and unpacks missing packages. The files belong to the current user.
    pub(super) fn get(cache: &Path, architecture: Architecture, debian: Debian) -> Result<Self> {
        let configured = match architecture {
            Architecture::Amd64 => None,
            // Its programs can't be run here, so that nothing configures its packages: what that makes in
            // /etc and /var doesn't depend on the architecture.
            Architecture::Arm64 | Architecture::Arm64Pages16K => {
                let beside = cache.parent().context("the cache has no parent")?;
                Some(Self::get(beside, Architecture::Amd64, debian)?)
            }
        };
        let add_kernel = add_kernel(architecture);
        let recipe = [
            debian.suite(),
            USERLAND,
            EXTRACTED,
            architecture.debian(),
            &LEFT_OUT.join(" "),
            &NOT_UNPACKED.join(" "),
            &add_kernel,
        ];
        let name = format!("debian-{}", fingerprint(&recipe.map(str::as_bytes)));
        let directory = cache.join(name);
        if !directory.exists() {
            let fetched = tempfile::tempdir_in(cache)?;
            let archive = fetched.path().join("userland.tar");
            fetch(&archive, architecture, debian)?;
            let unpacked = fetched.path().join("unpacked");
            unpack(&archive, &unpacked)?;
            if let Some(configured) = &configured {
                take_settings(&unpacked, &configured.directory)?;
            }
            fs::rename(&unpacked, &directory).context("cannot keep the userland")?;
        }
        let kernel = match debian {
            Debian::Bookworm => Self::get(cache, architecture, Debian::Trixie)?.kernel,
            Debian::Trixie => directory.join("kernel"),
        };
        Ok(Self {
            directory,
            kernel,
            architecture,
            debian,
        })
    }

    /// The root of the userland, as its packages have it; beside it lies `kernel`, which is part of
    /// a release.
    pub(super) fn userland(&self) -> &Path {
        &self.directory
    }

    /// A file of `/usr` that an initrd takes: of the userland, or else of the packages beside the kernel, in some of
    /// which that directory isn't `/usr` yet.
    pub(super) fn of_usr(&self, path: &str) -> Result<PathBuf> {
        ["usr", "kernel/usr", "kernel"]
            .map(|usr| self.directory.join(usr).join(path))
            .into_iter()
            .find(|file| file.exists())
            .with_context(|| format!("no package has {path}"))
    }

    /// The kernel itself.
    pub(super) fn kernel(&self) -> Result<PathBuf> {
        only_child(&self.kernel.join("boot"), "vmlinuz-")
    }

    /// Its modules.
    pub(super) fn modules(&self) -> Result<PathBuf> {
        Ok(only_child(&self.kernel.join("usr/lib/modules"), "")?.join("kernel"))
    }

    /// Makes one EFI application of a kernel and its initrd.
    pub(super) fn stub(&self) -> PathBuf {
        self.kernel
            .join("usr/lib/systemd/boot/efi")
            .join(self.architecture.stub())
    }
}

/// The hook that adds the kernel, of another flavour if the guest has one.
fn add_kernel(architecture: Architecture) -> String {
    match architecture.kernel_flavour() {
        Some(flavour) => ADD_KERNEL.replace("$architecture", flavour),
        None => ADD_KERNEL.to_owned(),
    }
}

fn fetch(archive: &Path, architecture: Architecture, debian: Debian) -> Result<()> {
    eprintln!("fetching the guests' userland and kernel from Debian (about two minutes)");
    let (variant, packages, hook) = match architecture {
        Architecture::Amd64 => ("essential", USERLAND.to_owned(), "customize"),
        Architecture::Arm64 | Architecture::Arm64Pages16K => {
            ("extract", format!("{EXTRACTED},{USERLAND}"), "extract")
        }
    };
    let mut bootstrap = tool("mmdebstrap");
    bootstrap
        .args(["--quiet", "--include", &packages])
        .arg(format!("--variant={variant}"))
        .arg(format!("--architectures={}", architecture.debian()))
        .arg(format!("--keyring={KEYRING}"))
        .args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")))
        // As text: without root it runs as somebody who may not read our files.
        .args([format!("--{hook}-hook"), add_kernel(architecture)])
        .arg(debian.suite())
        .arg(archive);
    // Without one, mmdebstrap knows where Debian is.
    if let Some(mirror) = mirror() {
        bootstrap.arg(mirror);
    }
    let fetched = run(&mut bootstrap).map(drop);
    if is_root() {
        return fetched;
    }
    fetched.context(
        "without root this needs user namespaces: newuidmap (apt-get install uidmap), and users of your own in \
         /etc/subuid and /etc/subgid",
    )
}

/// The mirror of Debian that the host itself uses, if it uses one: what apt knows after an
/// `apt-get update`.
fn mirror() -> Option<String> {
    let mut targets = tool("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let targets = run(&mut targets).ok()?;
    targets.lines().find_map(|line| {
        line.strip_prefix("Debian Debian main ")
            .map(|address| address.trim().to_owned())
    })
}

fn unpack(archive: &Path, directory: &Path) -> Result<()> {
    fs::create_dir(directory)?;
    let mut unpack = tool("tar");
    unpack
        .args(["--no-same-owner", "--same-permissions"])
        .args(NOT_UNPACKED.map(|path| format!("--exclude={path}")))
        .arg("-C")
        .arg(directory)
        .arg("-xf")
        .arg(archive);
    run(&mut unpack).map(drop)
}

/// Takes from `configured`, a userland of the same packages for another architecture, all but their
/// programs.
fn take_settings(directory: &Path, configured: &Path) -> Result<()> {
    let of_architecture = |name: &OsStr| name == "usr" || name == "kernel";
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if of_architecture(&entry.file_name()) {
            continue;
        }
        run(tool("rm").arg("-r").arg(entry.path()))?;
    }
    for entry in fs::read_dir(configured)? {
        let entry = entry?;
        if !of_architecture(&entry.file_name()) {
            run(tool("cp").arg("-a").arg(entry.path()).arg(directory))?;
        }
    }
    // The dynamic linker's list of the other architecture's libraries.
    let list = directory.join("etc/ld.so.cache");
    match fs::remove_file(&list) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", list.display()))
        }
        _ => Ok(()),
    }
}

fn only_child(directory: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            return Ok(entry.path());
        }
    }
    bail!("{} holds no {prefix}*", directory.display())
}
