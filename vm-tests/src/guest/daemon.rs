//! Our programs in a release: the current daemon, as the workspace builds it, or an earlier one, from
//! the history; and the reboot manager.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::fingerprint;
use crate::architecture::Architecture;
use crate::command::{missing, run, tool};
use crate::files;

/// Version of a release's daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// As the workspace builds it.
    Todays,
    /// As it was at [`EARLIER`].
    Earlier,
}

/// The commit of the earlier daemon: the last one that takes whatever lies on top of `/usr` for the
/// slot.
const EARLIER: &str = "685c81211752c19234639f6e1bcde25266fa300d";

/// Names or paths in the repository, and paths below `/usr`.
type Files = &'static [(&'static str, &'static str)];

/// Files of the daemon.
const DAEMON: Parts = Parts {
    programs: &[
        ("update_engine", "sbin/update_engine"),
        ("update_engine_client", "bin/update_engine_client"),
    ],
    // The other name under which it marks a slot good.
    links: &[("../sbin/update_engine", "bin/flatcar-setgoodroot")],
    files: &[
        (
            "systemd/update-engine.service",
            "lib/systemd/system/update-engine.service",
        ),
        (
            "systemd/update-engine-activate.service",
            "lib/systemd/system/update-engine-activate.service",
        ),
        (
            "systemd/update-engine-postinst.conf",
            "lib/systemd/system/update-engine-postinst.service.d/limits.conf",
        ),
        (
            "dbus/com.coreos.update1.conf",
            "share/dbus-1/system.d/com.coreos.update1.conf",
        ),
    ],
};
/// Files of the earlier daemon, which activated no staged updates.
const EARLIER_DAEMON: Parts = Parts {
    files: &[
        (
            "systemd/update-engine.service",
            "lib/systemd/system/update-engine.service",
        ),
        (
            "systemd/update-engine-postinst.conf",
            "lib/systemd/system/update-engine-postinst.service.d/limits.conf",
        ),
        (
            "dbus/com.coreos.update1.conf",
            "share/dbus-1/system.d/com.coreos.update1.conf",
        ),
    ],
    ..DAEMON
};
/// Files of the reboot manager.
const REBOOT_MANAGER: Parts = Parts {
    programs: &[("update_reboot_manager", "sbin/update_reboot_manager")],
    links: &[],
    files: &[(
        "systemd/update-reboot-manager.service",
        "lib/systemd/system/update-reboot-manager.service",
    )],
};

/// What belongs together.
#[derive(Debug)]
struct Parts {
    programs: Files,
    /// Targets, and the links to them.
    links: Files,
    files: Files,
}

/// A tree with some of our files, as they lie below `/usr`.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    tree: PathBuf,
}

impl Daemon {
    /// Today's, of the sources in `repository`; built each time, since Cargo knows what has
    /// changed.
    pub(super) fn todays(repository: &Path, cache: &Path, architecture: Architecture) -> Result<Self> {
        let tree = cache.join("daemon");
        make(
            &DAEMON,
            (repository, architecture),
            &repository.join("target"),
            &tree,
        )?;
        Ok(Self { tree })
    }

    /// Today's reboot manager, likewise.
    pub(super) fn reboot_manager(
        repository: &Path,
        cache: &Path,
        architecture: Architecture,
    ) -> Result<Self> {
        let tree = cache.join("reboot-manager");
        make(
            &REBOOT_MANAGER,
            (repository, architecture),
            &repository.join("target"),
            &tree,
        )?;
        Ok(Self { tree })
    }

    /// The earlier one; made once, of the sources in the history of `repository`, by each toolchain and with each set of
    /// settings.
    pub(super) fn earlier(repository: &Path, cache: &Path, architecture: Architecture) -> Result<Self> {
        let manifest = text(&repository.join("Cargo.toml"))?;
        let toolchain = run(Command::new("rustc").arg("-vV").current_dir(repository))?;
        let made_of = [
            EARLIER,
            &format!("{EARLIER_DAEMON:?}"),
            architecture.debian(),
            &toolchain,
            &lines(&manifest, true),
        ];
        let tree = cache.join(format!("daemon-{}", fingerprint(&made_of.map(str::as_bytes))));
        if !tree.exists() {
            eprintln!("building the daemon of {EARLIER}");
            let fresh = tempfile::tempdir_in(cache)?;
            let (sources, made) = (fresh.path().join("sources"), fresh.path().join("made"));
            check_out(repository, &sources)?;
            // With what the workspace has built for itself, where it is of the same version.
            compile_alike(&manifest, &sources)?;
            make(
                &EARLIER_DAEMON,
                (&sources, architecture),
                &repository.join("target"),
                &made,
            )?;
            std::fs::rename(&made, &tree).context("cannot keep the earlier daemon")?;
        }
        Ok(Self { tree })
    }

    /// Adds it to the tree of a slot.
    pub(super) fn add_to(&self, slot: &Path) -> Result<()> {
        run(tool("cp").arg("-a").arg(self.tree.join(".")).arg(slot)).map(drop)
    }
}

/// The sources of the earlier daemon.
fn check_out(repository: &Path, directory: &Path) -> Result<()> {
    std::fs::create_dir(directory)?;
    let mut git = tool("git");
    git.arg("-C")
        .arg(repository)
        .args(["archive", "--format=tar", EARLIER]);
    git.stdout(Stdio::piped());
    let mut archive = git.spawn().map_err(|error| missing(git.get_program(), error))?;
    let mut unpack = tool("tar");
    unpack.arg("-x").arg("-C").arg(directory);
    if let Some(output) = archive.stdout.take() {
        unpack.stdin(output);
    }
    let unpacked = run(&mut unpack);
    ensure!(
        archive.wait()?.success(),
        "{} holds no commit {EARLIER}, of which a story boots the daemon: fetch the whole history (git fetch --unshallow)",
        repository.display()
    );
    unpacked.map(drop)
}

/// Has `sources` compiled by the settings of the repository, whose manifest this is, without which nothing that is there
/// could be used.
fn compile_alike(manifest: &str, sources: &Path) -> Result<()> {
    let path = sources.join("Cargo.toml");
    let theirs = text(&path)?;
    let alike = [lines(&theirs, false), lines(manifest, true)].concat();
    files::write(&path, alike.as_bytes())
}

/// The lines of a manifest that set the dev profile, or all others.
fn lines(manifest: &str, wanted: bool) -> String {
    let (mut kept, mut of_profile) = (String::new(), false);
    for line in manifest.lines() {
        if line.starts_with('[') {
            of_profile = line.starts_with("[profile.dev");
        }
        if of_profile == wanted {
            kept.extend([line, "\n"]);
        }
    }
    kept
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn make(
    parts: &Parts,
    (sources, architecture): (&Path, Architecture),
    target: &Path,
    tree: &Path,
) -> Result<()> {
    let _ = std::fs::remove_dir_all(tree);
    for (name, place) in parts.programs {
        files::program(
            &tree.join(place),
            &program((sources, architecture), target, name)?,
        )?;
    }
    for (place, link) in parts.links {
        files::link(place, &tree.join(link))?;
    }
    for (name, place) in parts.files {
        files::write(&tree.join(place), &files::read(&sources.join(name))?)?;
    }
    Ok(())
}

/// A program, without what only a debugger wants. Static: the guest's C library may be older than
/// the host's.
fn program((sources, architecture): (&Path, Architecture), target: &Path, name: &str) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .current_dir(sources)
        .args([
            "rustc",
            "-q",
            "-p",
            "update-engine",
            "--bin",
            name,
            "--target-dir",
        ])
        .arg(target);
    let mut directory = target.to_owned();
    if let Some(triple) = architecture.rust_target() {
        build.args(["--target", triple]).env(
            format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_")),
            format!("{}-gcc", architecture.triplet()),
        );
        directory.push(triple);
    }
    build.args(["--", "-C", "target-feature=+crt-static"]);
    run(&mut build).with_context(|| format!("{name} does not build"))?;
    let file = tempfile::NamedTempFile::new_in(target)?;
    let mut strip = tool(architecture.objcopy());
    strip
        .arg("--strip-all")
        .arg(directory.join("debug").join(name))
        .arg(file.path());
    run(&mut strip)?;
    files::read(file.path())
}
