//! Our client, run by other users than the one who runs the tests.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::bus::PrivateBus;

/// Only root may become other users, and they have to get at files in the temporary directory. A
/// test that needs to and can't says so and shows nothing.
pub fn may_become_others() -> bool {
    let temporary = std::env::temp_dir();
    let is_open = |directory: &Path| {
        std::fs::metadata(directory).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    let obstacle = if !nix::unistd::geteuid().is_root() {
        "not root".to_owned()
    } else if temporary.ancestors().all(is_open) {
        return true;
    } else {
        format!("{} is closed to others", temporary.display())
    };
    eprintln!("{obstacle}: this test shows nothing");
    false
}

/// Our client as a copy in `directory`, for users who may not enter the one that it was built in (a
/// clone below `mktemp -d`, or in root's home).
pub fn client_in(directory: &Path) -> PathBuf {
    let copy = directory.join("client");
    // By a process of its own: what this one has open for writing, a child that another test forks
    // at that moment has too until it becomes another program, and a file that somebody may write
    // can't be run.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_update_engine_client"))
        .arg(&copy)
        .status();
    assert!(copied.unwrap().success(), "the client can't be copied");
    copy
}

/// Our client where every user of `bus` may run it.
pub fn client_of(bus: &PrivateBus) -> PathBuf {
    let copy = bus.path("client");
    if copy.exists() {
        copy
    } else {
        client_in(&bus.path(""))
    }
}

/// Our client, to be run as user `uid` (and the group of the same number) with `bus` as its system
/// bus.
pub fn client_process(bus: &PrivateBus, uid: u32) -> Command {
    let mut process = bus.process(client_of(bus).to_str().unwrap());
    if uid != nix::unistd::geteuid().as_raw() {
        process.uid(uid).gid(uid);
    }
    process
}
