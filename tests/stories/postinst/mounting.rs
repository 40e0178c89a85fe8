//! A freshly written slot is mounted to run its postinst, and stays as it was verified.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use update_engine::host::mount::{MountError, Mounted};

use crate::support::loops::{Loop, may_mount, run};

const MIB: u64 = 1 << 20;

/// An image of a file system with a postinst in it.
fn image(dir: &TempDir, make: &str, options: &[&str], size: u64) -> PathBuf {
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("postinst"), "#!/bin/sh\n").unwrap();
    let image = dir.path().join("slot.img");
    fs::File::create(&image).unwrap().set_len(size).unwrap();
    let (tree, path) = (tree.to_str().unwrap(), image.to_str().unwrap());
    let last: &[&str] = match make {
        "mksquashfs" => &[tree, path, "-noappend", "-quiet"],
        "mkfs.erofs" => &[path, tree],
        "mkfs.btrfs" => &["-q", "--rootdir", tree, path],
        _ => &["-q", "-d", tree, path],
    };
    run(make, &[options, last].concat());
    image
}

/// The image as a power cut would leave it: mounted read-write, with its journal in use.
fn with_a_journal_to_replay(image: &Path) {
    let point = image.with_extension("rw");
    let copy = image.with_extension("dirty");
    fs::create_dir(&point).unwrap();
    run(
        "mount",
        &["-o", "loop,rw", image.to_str().unwrap(), point.to_str().unwrap()],
    );
    fs::write(point.join("file"), "content").unwrap();
    fs::File::open(&point).unwrap().sync_all().unwrap();
    fs::copy(image, &copy).unwrap();
    run("umount", &[point.to_str().unwrap()]);
    fs::rename(copy, image).unwrap();
}

fn mounts_and_leaves_nothing(image: &Path) {
    let before = fs::read(image).unwrap();
    let slot = Loop::read_only(image);
    let mounted = Mounted::new(slot.device()).unwrap();
    let point = mounted.path().to_owned();
    assert!(
        point
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("au_postint_mount.")
    );
    assert!(point.join("postinst").is_file());
    assert!(fs::write(point.join("new"), "").is_err());
    mounted.unmount().unwrap();
    assert!(!point.exists());
    assert!(fs::read(image).unwrap() == before, "mounting changed the image");
}

#[test]
fn a_slot_is_mounted_read_only_whatever_file_system_images_use() {
    if !may_mount() {
        return;
    }
    for (make, options, size) in [
        ("mkfs.ext2", &[][..], 8 * MIB),
        ("mkfs.ext3", &[][..], 8 * MIB),
        ("mkfs.ext4", &[][..], 8 * MIB),
        ("mkfs.btrfs", &["-m", "single"][..], 128 * MIB),
        ("mksquashfs", &[][..], 0),
        ("mkfs.erofs", &[][..], 0),
    ] {
        if !kernel_has(make.trim_start_matches("mkfs.").trim_start_matches("mk")) {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        mounts_and_leaves_nothing(&image(&dir, make, options, size));
    }
}

/// Whether the kernel has a file system, or has a module for it. One that it doesn't have shows nothing.
fn kernel_has(kind: &str) -> bool {
    // Where it is built in there is nothing to load, and a machine may have no such program.
    let _ = Command::new("modprobe").args(["-q", kind]).status();
    let all = fs::read_to_string("/proc/filesystems").unwrap();
    let has = all
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == kind);
    if !has {
        eprintln!("the kernel has no {kind}: this shows nothing of it");
    }
    has
}

#[test]
fn a_journal_in_the_slot_is_not_replayed() {
    if !may_mount() {
        return;
    }
    for make in ["mkfs.ext3", "mkfs.ext4"] {
        let dir = tempfile::tempdir().unwrap();
        let image = image(&dir, make, &[], 8 * MIB);
        with_a_journal_to_replay(&image);
        mounts_and_leaves_nothing(&image);
    }
}

#[test]
fn a_slot_in_use_disappears_all_the_same() {
    if !may_mount() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&dir, "mkfs.ext2", &[], 8 * MIB);
    let slot = Loop::read_only(&image);
    let mounted = Mounted::new(slot.device()).unwrap();
    let point = mounted.path().to_owned();
    let in_use = fs::File::open(point.join("postinst")).unwrap();
    drop(mounted);
    assert!(!point.exists());
    drop(in_use);
}

#[test]
fn the_image_that_runs_already_is_told_from_one_that_cannot_be_mounted() {
    if !may_mount() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&dir, "mkfs.btrfs", &["-m", "single"], 128 * MIB);
    // Recent kernels mount a single-device twin under an identity of its own; a seed's they refuse
    // as older ones refuse every twin.
    run("btrfstune", &["-f", "-S", "1", image.to_str().unwrap()]);
    let copy = dir.path().join("copy.img");
    fs::copy(&image, &copy).unwrap();
    let (running, other) = (Loop::read_only(&image), Loop::read_only(&copy));
    let _running = Mounted::new(running.device()).unwrap();
    let error = Mounted::new(other.device()).unwrap_err();
    assert!(matches!(error, MountError::AlreadyMounted { .. }), "{error}");
}

#[test]
fn an_image_that_was_made_of_the_one_that_runs_by_changing_it_is_not_taken_for_that() {
    if !may_mount() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&dir, "mkfs.btrfs", &["-m", "single"], 128 * MIB);
    let changed = dir.path().join("changed.img");
    fs::copy(&image, &changed).unwrap();
    let seed = |image: &Path| run("btrfstune", &["-f", "-S", "1", image.to_str().unwrap()]);
    run(
        "btrfs",
        &["filesystem", "label", changed.to_str().unwrap(), "changed"],
    );
    for image in [&image, &changed] {
        seed(image);
    }
    let (running, other) = (Loop::read_only(&image), Loop::read_only(&changed));
    let _running = Mounted::new(running.device()).unwrap();
    let error = Mounted::new(other.device()).unwrap_err();
    assert!(matches!(error, MountError::SameIdentity { .. }), "{error}");
}

#[test]
fn what_is_no_file_system_is_refused_with_each_reason() {
    if !may_mount() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("slot.img");
    fs::write(&image, vec![7; 1 << 20]).unwrap();
    let slot = Loop::read_only(&image);
    let error = Mounted::new(slot.device()).unwrap_err().to_string();
    let device = slot.device().display();
    assert!(
        error.starts_with(&format!("{device} cannot be mounted: as ext2: ")),
        "{error}"
    );
    assert!(
        error.contains(", as ext3: ") && error.contains(", as btrfs: "),
        "{error}"
    );
}
