//! Daemon of a release: the current one, as the workspace builds it, or an earlier one, from the
//! history.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

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

/// Files of the daemon in the repository, and their paths below `/usr`.
const PROGRAMS: [(&str, &str); 2] = [
    ("update_engine", "sbin/update_engine"),
    ("update_engine_client", "bin/update_engine_client"),
];
const FILES: [(&str, &str); 3] = [
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
];

/// A tree with the files of a daemon, as they lie below `/usr`.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    tree: PathBuf,
}

impl Daemon {
    /// Today's, of the sources in `repository`; built each time, since Cargo knows what has
    /// changed.
    pub(super) fn todays(repository: &Path, cache: &Path) -> Result<Self> {
        let tree = cache.join("daemon");
        make(repository, &repository.join("target"), &tree)?;
        Ok(Self { tree })
    }

    /// The earlier one; made once, of the sources in the history of `repository`.
    pub(super) fn earlier(repository: &Path, cache: &Path) -> Result<Self> {
        let tree = cache.join(format!("daemon-{EARLIER}"));
        if !tree.exists() {
            eprintln!("building the daemon of {EARLIER}");
            let fresh = tempfile::tempdir_in(cache)?;
            let (sources, made) = (fresh.path().join("sources"), fresh.path().join("made"));
            check_out(repository, &sources)?;
            // With what the workspace has built for itself, where it is of the same version.
            compile_alike(repository, &sources)?;
            make(&sources, &repository.join("target"), &made)?;
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

/// Has `sources` compiled by the settings of `repository`, without which nothing that is there
/// could be used.
fn compile_alike(repository: &Path, sources: &Path) -> Result<()> {
    let path = sources.join("Cargo.toml");
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let (theirs, ours) = (read(&path)?, read(&repository.join("Cargo.toml"))?);
    let mut manifest = String::new();
    for (text, wanted) in [(&theirs, false), (&ours, true)] {
        let mut of_profile = false;
        for line in text.lines() {
            if line.starts_with('[') {
                of_profile = line.starts_with("[profile.dev");
            }
            if of_profile == wanted {
                manifest.extend([line, "\n"]);
            }
        }
    }
    files::write(&path, manifest.as_bytes())
}

fn make(sources: &Path, target: &Path, tree: &Path) -> Result<()> {
    let _ = std::fs::remove_dir_all(tree);
    for (name, place) in PROGRAMS {
        files::program(&tree.join(place), &program(sources, target, name)?)?;
    }
    // The other name under which it marks a slot good.
    files::link("../sbin/update_engine", &tree.join("bin/flatcar-setgoodroot"))?;
    for (name, place) in FILES {
        files::write(&tree.join(place), &files::read(&sources.join(name))?)?;
    }
    Ok(())
}

/// A program, without what only a debugger wants. Static: the guest's C library may be older than
/// the host's.
fn program(sources: &Path, target: &Path, name: &str) -> Result<Vec<u8>> {
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
        .arg(target)
        .args(["--", "-C", "target-feature=+crt-static"]);
    run(&mut build).with_context(|| format!("{name} does not build"))?;
    let file = tempfile::NamedTempFile::new_in(target)?;
    let mut strip = tool("objcopy");
    strip
        .arg("--strip-all")
        .arg(target.join("debug").join(name))
        .arg(file.path());
    run(&mut strip)?;
    files::read(file.path())
}
