//! Initrd: busybox, `findfs`, the drivers and `guest/init`.

use std::collections::BTreeSet;
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

/// Programs below `/usr`, and where they go.
const PROGRAMS: [(&str, &str); 2] = [("bin/busybox", "bin/busybox"), ("sbin/findfs", "bin/findfs")];
/// What sets dm-verity up, where it is below `/usr`, and where it goes.
const VERITYSETUP: (&str, &str) = ("sbin/veritysetup", "bin/veritysetup");

/// The initrd of `release`, below `cache`.
pub(super) fn image(
    cache: &Path,
    packages: &Packages,
    release: &str,
    recipe: &Recipe<'_>,
) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.add(Kind::Directory, directory, &[]);
    }
    archive.add(Kind::Program, "init", INIT);
    archive.add(Kind::Link, "bin/sh", b"busybox");
    let mut programs = Vec::from(PROGRAMS);
    if recipe.flatcar_image && recipe.guarded {
        programs.push(VERITYSETUP);
    }
    for (from, to) in &programs {
        let program = packages.of_usr(from)?;
        archive.add(Kind::Program, to, &files::read(&program)?);
    }
    add_libraries(&mut archive, packages, programs.iter().map(|(from, _)| *from))?;
    add_modules(&mut archive, packages)?;
    archive.add(Kind::File, "release", release.as_bytes());
    archive.add(Kind::File, "conduct", recipe.conduct.in_initrd().as_bytes());
    let deadline = recipe.deadline.in_initrd(recipe.hang);
    archive.add(Kind::File, "deadline", deadline.as_bytes());
    let takeover = recipe.takeover.map_or("", Takeover::in_initrd);
    archive.add(Kind::File, "takeover", takeover.as_bytes());
    let filesystem = if recipe.flatcar_image { "btrfs" } else { "ext2" };
    archive.add(Kind::File, "filesystem", filesystem.as_bytes());
    compressed(cache, &archive.finish())
}

/// Adds the libraries that `programs` need, which are below `/usr`, and the linker that finds them.
fn add_libraries<'a>(
    archive: &mut Archive,
    packages: &Packages,
    programs: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let (directory, linker) = packages.architecture.linker();
    let libraries = format!("lib/{}", packages.architecture.triplet());
    archive.add(Kind::Directory, &libraries, &[]);
    let mut unread: Vec<String> = programs.map(str::to_owned).collect();
    let mut seen = BTreeSet::from([linker.to_owned()]);
    while let Some(file) = unread.pop() {
        let dump = run(tool(packages.architecture.objdump())
            .arg("-p")
            .arg(packages.of_usr(&file)?))?;
        let needed = dump.lines().filter_map(|line| line.trim().strip_prefix("NEEDED"));
        for name in needed.map(str::trim) {
            if seen.insert(name.to_owned()) {
                unread.push(format!("{libraries}/{name}"));
            }
        }
    }
    for name in seen {
        let place = if name == linker { directory } else { &libraries };
        let library = files::read(&packages.of_usr(&format!("{libraries}/{name}"))?)?;
        archive.add(Kind::Program, &format!("{place}/{name}"), &library);
    }
    Ok(())
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
