//! Initrd: busybox, `findfs`, the drivers and `guest/init`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::{Archive, Kind};
use super::handover::Takeover;
use super::packages::Packages;
use super::release::Recipe;
use super::{fingerprint, modules};
use crate::command::{run, tool};
use crate::files;

const INIT: &[u8] = include_bytes!("../../guest/init");

const DIRECTORIES: [&str; 8] = ["bin", "dev", "lib64", "lib", "modules", "proc", "sys", "sysroot"];

/// Programs in the unpacked userland, and where they go.
const PROGRAMS: [(&str, &str); 2] = [
    ("usr/bin/busybox", "bin/busybox"),
    ("usr/sbin/findfs", "bin/findfs"),
];
/// Libraries of theirs.
const LIBRARIES: [&str; 2] = ["libblkid.so.1", "libc.so.6"];

/// The initrd of `release`, below `cache`.
pub(super) fn image(
    cache: &Path,
    packages: &Packages,
    release: &str,
    recipe: &Recipe<'_>,
) -> Result<PathBuf> {
    let (userland, architecture) = (packages.userland(), packages.architecture);
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.add(Kind::Directory, directory, &[]);
    }
    archive.add(Kind::Program, "init", INIT);
    archive.add(Kind::Link, "bin/sh", b"busybox");
    for (from, to) in PROGRAMS {
        archive.add(Kind::Program, to, &files::read(&userland.join(from))?);
    }
    let libraries = format!("lib/{}", architecture.triplet());
    let library = |name: &str| files::read(&userland.join("usr").join(&libraries).join(name));
    archive.add(Kind::Directory, &libraries, &[]);
    for name in LIBRARIES {
        archive.add(Kind::Program, &format!("{libraries}/{name}"), &library(name)?);
    }
    let (directory, linker) = architecture.linker();
    archive.add(Kind::Program, &format!("{directory}/{linker}"), &library(linker)?);
    add_modules(&mut archive, packages)?;
    archive.add(Kind::File, "release", release.as_bytes());
    archive.add(Kind::File, "conduct", recipe.conduct.in_initrd().as_bytes());
    let deadline = recipe.deadline.in_initrd(recipe.hang);
    archive.add(Kind::File, "deadline", deadline.as_bytes());
    let takeover = recipe.takeover.map_or("", Takeover::in_initrd);
    archive.add(Kind::File, "takeover", takeover.as_bytes());
    let filesystem = if recipe.btrfs { "btrfs" } else { "ext2" };
    archive.add(Kind::File, "filesystem", filesystem.as_bytes());
    compressed(cache, &archive.finish())
}

/// Adds the drivers to the directory `modules`, and the order in which they can be loaded.
pub(super) fn add_modules(archive: &mut Archive, packages: &Packages) -> Result<()> {
    let mut order = String::new();
    for (name, module) in modules::in_order(&packages.modules()?, packages.architecture)? {
        archive.add(Kind::File, &format!("modules/{name}.ko"), &module);
        order.extend([name.as_str(), ".ko\n"]);
    }
    archive.add(Kind::File, "modules/order", order.as_bytes());
    Ok(())
}

/// Compressed, so that the payload's compression finds nothing left to do: bzip2 is slow to unpack
/// on an emulated processor.
pub(super) fn compressed(cache: &Path, archive: &[u8]) -> Result<PathBuf> {
    let packed = cache.join(format!("initrd-{}.gz", fingerprint(&[archive])));
    if !packed.exists() {
        // Two stories may want the same one at the same time: a file that exists is complete.
        let scratch = tempfile::tempdir_in(cache)?;
        let plain = scratch.path().join("initrd");
        files::write(&plain, archive)?;
        run(tool("gzip").args(["-n", "-6"]).arg(&plain))?;
        std::fs::rename(plain.with_extension("gz"), &packed).context("cannot keep the initrd")?;
    }
    Ok(packed)
}
