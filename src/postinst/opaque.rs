//! The attribute by which an overlay on `/etc` hides the extensions of the image below it; it would
//! hide the new image's too.
//!
//! On `/etc/extensions` it can only be seen, and removed, in the overlay's upper directory:
//! overlayfs shows nobody its own attributes, and removing them through it ends with "no data". The
//! upper directory is what `/etc` was before the overlay was mounted over it (the root's own
//! `/etc`, under a merged configuration extension), so that is looked at with the overlay
//! unmounted, in a mount namespace of our own: everybody else's `/etc` stays as it is.

use std::path::Path;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use rustix::fs::lremovexattr;
use rustix::io::Errno;

use crate::host::Host;

const ETC: &str = "/etc";
const EXTENSIONS: &str = "/etc/extensions";
const ATTRIBUTE: &str = "trusted.overlay.opaque";
/// Most overlays on top of each other on `/etc`.
const MOST: usize = 8;

/// Removes the attribute, if it is there. A failure is logged: then the new image's own extensions
/// stay hidden, as before.
pub(super) fn remove(host: &Host) {
    let (etc, extensions) = (host.path(ETC), host.path(EXTENSIONS));
    let work = || {
        if let Err(errno) = uncover(&etc) {
            eprintln!(
                "cannot look below the overlay on {}: {}",
                etc.display(),
                errno.desc()
            );
        }
        match lremovexattr(&extensions, ATTRIBUTE) {
            Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => {}
            Err(error) => eprintln!("cannot change {}: {error}", extensions.display()),
        }
    };
    // A namespace ends with its last thread.
    thread::scope(|scope| {
        if scope.spawn(work).join().is_err() {
            eprintln!("cannot look below the overlay on {}", etc.display());
        }
    });
}

/// Unmounts the overlays on `etc`, for this thread alone.
fn uncover(etc: &Path) -> nix::Result<()> {
    if !is_overlay(etc)? {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    for _ in 0..MOST {
        if !is_overlay(etc)? {
            return Ok(());
        }
        match umount2(etc, MntFlags::MNT_DETACH) {
            // No mount: it is a directory of a root file system that is an overlay itself.
            Err(nix::Error::EINVAL) => return Ok(()),
            unmounted => unmounted?,
        }
    }
    Ok(())
}

fn is_overlay(path: &Path) -> nix::Result<bool> {
    match statfs(path) {
        Ok(found) => Ok(found.filesystem_type() == OVERLAYFS_SUPER_MAGIC),
        Err(nix::Error::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
