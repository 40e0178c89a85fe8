//! Client and engine through a socket, without a bus.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::{CLIENT, IDLE_LINES, log, next_line, ready_to_reboot, stderr_lines, stdout};
use crate::support::bus_engine::BusEngine;
use crate::support::other_users::{client_in, may_become_others};
use test_support::bus::NOBODY_UID;

async fn through(socket: &Path, flag: &str) -> Output {
    let peer = format!("--bus-peer={}", socket.display());
    Command::new(CLIENT).args([&peer, flag]).output().await.unwrap()
}

#[tokio::test]
async fn without_a_bus_client_and_engine_talk_through_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine");
    let engine = BusEngine::at(&socket).await;
    assert_eq!(stdout(&through(&socket, "-status").await), IDLE_LINES);
    assert_eq!(through(&socket, "-check_for_update").await.status.code(), Some(0));
    assert_eq!(engine.attempts(), 1);
    assert_eq!(
        through(&socket, "-reset_status").await.status.code(),
        Some(1),
        "checking"
    );

    let mut watcher = Command::new(CLIENT)
        .arg("-watch_for_updates")
        .arg(format!("-bus_peer={}", socket.display()))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = stderr_lines(&mut watcher);
    next_line(&mut lines).await;
    loop {
        engine.announce(ready_to_reboot());
        if tokio::time::timeout(Duration::from_millis(50), next_line(&mut lines))
            .await
            .is_ok()
        {
            break;
        }
    }
    drop(engine);
    assert!(!socket.exists(), "the socket goes with the service");
}

/// Takes root: it becomes nobody.
#[tokio::test]
async fn a_socket_that_is_open_to_all_still_lets_in_only_root_and_the_engines_user() {
    if !may_become_others() {
        return;
    }
    let directory = open_directory();
    let socket = directory.path().join("engine");
    let copy = client_in(directory.path());
    let engine = BusEngine::at(&socket).await;
    std::fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();

    let stranger = Command::new(&copy)
        .arg("-check_for_update")
        .arg(format!("-bus_peer={}", socket.display()))
        .uid(NOBODY_UID)
        .gid(NOBODY_UID)
        .output()
        .await
        .unwrap();
    assert_eq!(stranger.status.code(), Some(1), "{stranger:?}");
    assert!(
        log(&stranger)[1].starts_with("Failed to get bus: "),
        "{:?}",
        log(&stranger)
    );
    assert_eq!(engine.attempts(), 0);
    assert_eq!(through(&socket, "-check_for_update").await.status.code(), Some(0));
}

/// A directory that other users may enter.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}
