//! System extensions merged over a slot by the real `systemd-sysext`.

use std::path::Path;

use tempfile::TempDir;

use super::loops::run;

/// In a mount namespace of its own, so that nothing stays: a root with the slot `$1` on `/usr` and
/// an extension, merged if `$3` says so; then the mount table of a process in there. `$2` is an
/// empty directory, and not below `/run`, where systemd takes no mounts from.
const MERGE: &str = r#"
    set -e
    mount -t tmpfs tmpfs /run
    mount -t tmpfs root "$2"; cd "$2"
    extension=var/lib/extensions/docker/usr/lib/extension-release.d
    mkdir -p usr etc run dev proc sys tmp bin lib lib64 $extension
    echo ID=image > etc/os-release
    echo ID=_any > $extension/extension-release.docker
    mount --make-shared "$2"
    mount -o ro "$1" usr
    case $3 in
    merged) systemd-sysext --root="$2" merge >&2 ;;
    bound)
        # As the daemon's unit sees it: a namespace that gets the system's mounts, with /usr bound to itself.
        unshare --mount --propagation slave sh -c '
            mount --bind usr usr
            nsenter --mount=/proc/"$0"/ns/mnt systemd-sysext --root="$1" merge >&2
            exec sh -c "$2" sh "$1"' $$ "$2" "$4"
        exit ;;
    esac
    exec sh -c "$4" sh "$2"
"#;
const TABLE: &str = r#"
    set -e; cd "$1"
    mount --bind /proc proc
    for each in bin lib lib64; do mount --bind /usr/$each $each; done
    exec chroot . /bin/cat /proc/self/mountinfo
"#;

/// What lies on the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// Nothing.
    Nothing,
    /// An extension, merged.
    Extension,
    /// The same, in the namespace of a unit for which `/usr` was bound to itself before.
    ExtensionInUnit,
}

/// The mount table of a system that runs from `slot`, a device with a file system.
pub fn mount_table(slot: &Path, merged: Merged) -> String {
    let place = TempDir::new().unwrap();
    let how = match merged {
        Merged::Nothing => "not",
        Merged::Extension => "merged",
        Merged::ExtensionInUnit => "bound",
    };
    let (slot, place) = (slot.to_str().unwrap(), place.path().to_str().unwrap());
    let table = run(
        "unshare",
        &["--mount", "--", "sh", "-c", MERGE, "sh", slot, place, how, TABLE],
    );
    // It succeeds also when it merged nothing.
    let is_merged = table.contains(" - overlay sysext ");
    assert_eq!(is_merged, merged != Merged::Nothing, "{table}");
    table
}
