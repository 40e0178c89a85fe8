//! What operators and scripts see of `update_engine_client`: the real binary on a real bus.

mod socket;

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use update_engine::bus::{BusService, serve_bus};
use update_engine::status::{Operation, SnapshotSender, Status};

use crate::support::bus_engine::BusEngine;
use crate::support::other_users::{client_process, may_become_others};
use test_support::bus::{Accounts, NOBODY_UID, PrivateBus};

const CLIENT: &str = env!("CARGO_BIN_EXE_update_engine_client");

fn client(bus: &PrivateBus, arguments: &[&str]) -> Command {
    let mut process = Command::from(bus.process(CLIENT));
    process.args(arguments).kill_on_drop(true);
    process
}

async fn output(bus: &PrivateBus, arguments: &[&str]) -> Output {
    client(bus, arguments).output().await.unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The messages on standard error, each of which must be a log line or the rest of one.
fn log(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines().map(message).collect()
}

/// The message of a log line (`I20261120 20:54:44.191059 12518 file.rs:251] message`).
fn message(line: &str) -> String {
    match line.split_once("] ") {
        Some((prefix, message)) => {
            let fields: Vec<&str> = prefix.split_whitespace().collect();
            assert_eq!(fields.len(), 4, "not a log prefix: {line}");
            assert!(fields[0].starts_with(['I', 'W', 'E', 'F']), "no severity: {line}");
            message.to_owned()
        }
        None => line.to_owned(),
    }
}

fn ready_to_reboot() -> Status {
    Status {
        last_checked_time: 1_700_000_000,
        progress: 0.0,
        operation: Operation::UpdatedNeedReboot,
        new_version: "4081.2.0".to_owned(),
        new_size: 2_514_292,
    }
}

const IDLE_LINES: &str = "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_IDLE\n\
    NEW_VERSION=0.0.0\nNEW_SIZE=0\n";
const READY_LINES: &str = "LAST_CHECKED_TIME=1700000000\nPROGRESS=0.000000\n\
    CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\nNEW_VERSION=4081.2.0\nNEW_SIZE=2514292\n";

#[tokio::test]
async fn status_prints_five_lines_and_nothing_else() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    for spelling in ["-status", "--status", "--status=true"] {
        let idle = output(&bus, &[spelling]).await;
        assert_eq!(idle.status.code(), Some(0));
        assert_eq!(stdout(&idle), IDLE_LINES);
        assert_eq!(log(&idle), ["Querying Update Engine status..."]);
    }
    engine.announce(ready_to_reboot());
    assert_eq!(stdout(&output(&bus, &["-status"]).await), READY_LINES);
}

/// An engine whose task has ended answers every call with an error.
async fn dead_engine(bus: &PrivateBus) -> BusService {
    let (_, news) = SnapshotSender::new();
    let (commands, _) = mpsc::channel(1);
    serve_bus(Some(bus.address()), commands, news).await.unwrap()
}

#[tokio::test]
async fn a_status_that_fails_is_printed_all_the_same() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = dead_engine(&bus).await;
    let output = output(&bus, &["-status"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("\nCURRENT_OP=(null)\n"));
    assert!(stdout(&output).lines().all(|line| line.contains('=')));
    assert!(
        log(&output)[1].starts_with("Error getting status: "),
        "{:?}",
        log(&output)
    );
}

#[tokio::test]
async fn a_check_returns_once_the_engine_has_begun_it() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    for (number, spelling) in ["-check_for_update", "--check-for-update"]
        .into_iter()
        .enumerate()
    {
        let output = output(&bus, &[spelling]).await;
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stdout(&output), "");
        assert_eq!(log(&output), ["Initiating update check and install."]);
        assert_eq!(engine.attempts(), number + 1);
    }
}

#[tokio::test]
async fn an_error_in_answer_to_a_check_aborts() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = dead_engine(&bus).await;
    let output = output(&bus, &["-check_for_update"]).await;
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(
        log(&output)[1].starts_with("Error checking for update: "),
        "{:?}",
        log(&output)
    );
}

#[tokio::test]
async fn update_waits_until_a_reboot_is_needed() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    engine.announce(ready_to_reboot());
    let output = output(&bus, &["-update"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), READY_LINES);
    assert_eq!(
        log(&output),
        [
            "Initiating update check and install.",
            "Waiting for update to complete.",
            "Update succeeded -- reboot needed.",
        ]
    );
    assert_eq!(engine.attempts(), 1);
}

#[tokio::test]
async fn update_ends_well_when_the_engine_is_idle_again() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let mut waiting = client(&bus, &["-update"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = stderr_lines(&mut waiting);
    while message(&next_line(&mut lines).await) != "Waiting for update to complete." {}
    engine.announce(Status::default());
    assert_eq!(message(&next_line(&mut lines).await), "No update available");
    assert_eq!(waiting.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_reset_says_how_to_undo_the_boot_flags() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    engine.announce(ready_to_reboot());
    let output_ok = output(&bus, &["-reset_status"]).await;
    assert_eq!(output_ok.status.code(), Some(0));
    assert_eq!(
        log(&output_ok),
        [
            "Setting Update Engine status to idle ...",
            "ResetStatus succeeded; to undo partition table changes run:",
            "(D=$(rootdev -d) P=$(rootdev -s); cgpt p -i$(($(echo ${P#$D} | sed 's/^[^0-9]*//')-1)) $D;)",
        ]
    );
    engine.set(Operation::CheckingForUpdate);
    let refused = output(&bus, &["-reset_status"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(log(&refused).last().unwrap(), "ResetStatus failed.");
}

/// Takes root: it becomes nobody, who may listen but not call.
#[tokio::test]
async fn everybody_may_watch() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let mut watcher = Command::from(client_process(&bus, NOBODY_UID))
        .args(["-watch_for_updates"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = stderr_lines(&mut watcher);
    assert_eq!(
        message(&next_line(&mut lines).await),
        "Watching for status updates."
    );
    // Nothing tells when the subscription stands: announce until the first is seen.
    let seen = loop {
        engine.announce(ready_to_reboot());
        if let Ok(line) = tokio::time::timeout(Duration::from_millis(50), next_line(&mut lines)).await {
            break line;
        }
    };
    assert_eq!(message(&seen), "Got status update:");
    for expected in [
        "  last_checked_time: 1700000000",
        "  progress: 0",
        "  current_operation: UPDATE_STATUS_UPDATED_NEED_REBOOT",
        "  new_version: 4081.2.0",
        "  new_size: 2514292",
    ] {
        assert_eq!(message(&next_line(&mut lines).await), expected);
    }
    watcher.kill().await.unwrap();
}

fn stderr_lines(process: &mut Child) -> Lines<BufReader<ChildStderr>> {
    BufReader::new(process.stderr.take().unwrap()).lines()
}

async fn next_line(lines: &mut Lines<BufReader<ChildStderr>>) -> String {
    lines.next_line().await.unwrap().expect("the client goes on")
}

#[tokio::test]
async fn a_client_that_comes_before_the_service_waits_for_it() {
    let bus = PrivateBus::start(Accounts::Ours);
    let mut early = client(&bus, &["-status"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = stderr_lines(&mut early);
    assert_eq!(
        message(&next_line(&mut lines).await),
        "Querying Update Engine status..."
    );
    let missing = message(&next_line(&mut lines).await);
    assert!(
        missing.starts_with("Error getting dbus proxy for com.coreos.update1: "),
        "{missing}"
    );
    assert_eq!(
        message(&next_line(&mut lines).await),
        "Retrying to get dbus proxy. Try 2/4"
    );
    let _engine = BusEngine::on(&bus).await;
    let output = early.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), IDLE_LINES);
}

#[tokio::test]
async fn without_a_bus_the_client_fails_at_once() {
    let began = Instant::now();
    let output = Command::new(CLIENT)
        .arg("-status")
        .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_secs(10), "it must not retry");
    assert_eq!(stdout(&output), "");
    assert!(
        log(&output)[1].starts_with("Failed to get bus: "),
        "{:?}",
        log(&output)
    );
}

/// Takes the half minute that a service has to come.
#[tokio::test]
async fn without_a_service_the_client_says_each_try_and_that_it_gives_up() {
    let bus = PrivateBus::start(Accounts::Ours);
    let output = output(&bus, &["-status"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let mut log = log(&output);
    let end = log.pop().unwrap();
    assert_eq!(
        end,
        "Giving up -- unable to get dbus proxy for com.coreos.update1"
    );
    log.retain(|line| line.starts_with("Retrying"));
    let tries = [2, 3, 4].map(|number| format!("Retrying to get dbus proxy. Try {number}/4"));
    assert_eq!(log, tries);
}

async fn without_bus(arguments: &[&str]) -> Output {
    Command::new(CLIENT).args(arguments).output().await.unwrap()
}

#[tokio::test]
async fn flags_end_as_gflags_ends() {
    let unknown = without_bus(&["-status", "--omaha_url=x"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert_eq!(log(&unknown), ["ERROR: unknown command line flag 'omaha_url'"]);

    let help = without_bus(&["--help"]).await;
    assert_eq!(help.status.code(), Some(1));
    assert!(stdout(&help).contains("-check_for_update"));
    for command in ["status", "why", "check", "rollback", "mark-good"] {
        let line = format!("\n    {command:<12} ");
        assert!(stdout(&help).contains(&line), "{command}: {}", stdout(&help));
    }

    let version = without_bus(&["--version"]).await;
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stdout(&version), "update_engine_client\n");

    let nothing = without_bus(&["-nostatus", "ignored", "-logtostderr", "-v=1"]).await;
    assert_eq!(nothing.status.code(), Some(0));
    assert_eq!(log(&nothing), ["Done."]);
}
