//! `check --dry-run`: it predicts an update's outcome and changes nothing.

mod offers;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::fcntl::{Flock, FlockArg};
use update_engine::disk::SlotName;
use update_engine::serve::Ask;
use update_engine::status::{CheckResult, EngineState, Preview, Prospect};

use crate::support::bad_server::BadServer;
use crate::support::bus_engine::BusEngine;
use crate::support::health::require_a_file;
use crate::support::loops::may_mount;
use crate::support::node::{KEY, Node, quoted, sha256};
use crate::support::other_users::{client_process, may_become_others};
use crate::support::scene::{Asked, IDLE, NEED_REBOOT, Scene};
use test_support::bus::{Accounts, CORE_UID, NOBODY_UID, PrivateBus};
use test_support::fixtures;

const KERNEL_A: &str = "/boot/flatcar/vmlinuz-a";
const STATE: &str = "/var/lib/update_engine";

async fn dry_run(bus: &PrivateBus, arguments: &[&str]) -> Output {
    let client = bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    let mut client = tokio::process::Command::from(client);
    let arguments = ["check", "--dry-run"].iter().chain(arguments);
    client.args(arguments).output().await.unwrap()
}

/// The exit code, and what is told, of the offer that the server makes now.
pub(crate) async fn preview(bus: &PrivateBus) -> (i32, Preview) {
    told(&dry_run(bus, &["--ask-server", "--json"]).await)
}

/// The same of the last check's.
async fn free_preview(bus: &PrivateBus) -> (i32, Preview) {
    told(&dry_run(bus, &["--json"]).await)
}

fn told(output: &Output) -> (i32, Preview) {
    let preview = serde_json::from_slice(&output.stdout);
    (
        output.status.code().unwrap(),
        preview.unwrap_or_else(|error| panic!("{error}: {output:?}")),
    )
}

/// Every file below `path`, by its hash.
fn files(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let hash = std::fs::read(&path).map(|bytes| sha256(&bytes));
                found.insert(path, hash.unwrap_or_default());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_is_told_with_every_look_at_the_node_and_nothing_is_touched() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("PARTITION_oem=/nowhere/OEM-%s\nTRIAL_DEADLINE=900\n");
    let _daemon = scene.boot(SlotName::A).await;
    scene.overview(|overview| !overview.slots.is_empty()).await;
    let disk = || sha256(&std::fs::read(scene.node.disk.path()).unwrap());
    // Leaves what a first check leaves.
    let asked = dry_run(&scene.bus, &["--ask-server"]).await;
    assert_eq!(asked.status.code(), Some(0), "{asked:?}");
    let questions = Asked::questions(&scene.server);
    assert_eq!(questions.len(), 1);
    let before = (files(&scene.node.path("/")), disk());
    let output = dry_run(&scene.bus, &["--ask-server"]).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<_> = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(lines[0], "Update would be installed in USR-B");
    assert!(lines[1].starts_with("Offered 2.0.0, "), "{said}");
    assert!(
        lines[2].starts_with("Server's answer 0 s ago (")
            || lines[2].starts_with("Server's answer 1 s ago ("),
        "{said}"
    );
    for begin in [
        "public key ok ",
        "running slot ok USR-A is good",
        "partition table ok every reader at boot accepts it",
        "boot partition ok the running kernel has 390.6 KiB, ",
        "state directory ok ",
        "postinst ok ",
        "other slot ok USR-B, 16.0 MiB, nobody uses it",
        "partition oem ok not needed by this payload: the target of partition oem can't be used: cannot open ",
        "payload ok signed, and all of it fits: image of 16.0 MiB, kernel of 395.5 KiB",
        "trial deadline doubtful nobody would end a hang: nothing starts update-engine-trial-deadline.service",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(begin)),
            "{begin:?} is not in:\n{said}"
        );
    }
    let questions = Asked::questions(&scene.server);
    assert_eq!(questions.len(), 2);
    for (question, previous) in questions.iter().zip(["0.0.0.0", ""]) {
        let [Ask::Ping, Ask::UpdateCheck, Ask::Event(event)] = &question.asks[..] else {
            panic!("{:?}", question.asks);
        };
        assert_eq!((event.kind, event.result), (3, 2), "as a check");
        assert_eq!(event.previous_version.as_deref(), Some(previous));
    }
    assert_eq!((files(&scene.node.path("/")), disk()), before);
    assert_eq!(scene.overview(|_| true).await.state, EngineState::Idle);
    // What was asked before changes nothing about an update.
    scene.attempt(NEED_REBOOT).await;
    let waiting = dry_run(&scene.bus, &[]).await;
    assert_eq!(waiting.status.code(), Some(1));
    let said = String::from_utf8(waiting.stderr).unwrap();
    assert!(
        said.contains("a dry run has no meaning while an update waits for the reboot"),
        "{said}"
    );
}

/// The one look that failed.
#[track_caller]
fn failed(preview: &Preview) -> (&str, Option<u32>, &str) {
    let mut failed = preview
        .checks
        .iter()
        .filter(|check| check.result == CheckResult::Failed);
    let check = failed.next().unwrap_or_else(|| panic!("{preview:?}"));
    assert!(failed.next().is_none(), "{preview:?}");
    (&check.subject, check.code, &check.found)
}

/// What was broken, for as long as it is.
type Broken = Option<Flock<File>>;
type Break = fn(&Node) -> Broken;

#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_would_refuse_an_update_is_named_with_its_code() {
    let missing_key: Break = |node| {
        std::fs::remove_file(node.path(KEY)).unwrap();
        None
    };
    let large_kernel: Break = |node| {
        let kernel = File::options().write(true).open(node.path(KERNEL_A)).unwrap();
        // Nothing but a length.
        kernel.set_len(1 << 42).unwrap();
        None
    };
    let no_directory: Break = |node| {
        std::fs::rename(node.path(STATE), node.path("/elsewhere")).unwrap();
        node.write(STATE, b"");
        None
    };
    let in_use: Break = |node| {
        let disk = File::open(node.disk.path()).unwrap();
        Some(Flock::lock(disk, FlockArg::LockExclusiveNonblock).unwrap())
    };
    for (damage, subject, code, sentence) in [
        (missing_key, "public key", 18, "cannot read the public key"),
        (large_kernel, "boot partition", 1, "Failed to copy kernel"),
        (no_directory, "state directory", 20, "cannot write in"),
        (in_use, "other slot", 7, "cannot open USR-B"),
    ] {
        let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
        let _daemon = scene.boot(SlotName::A).await;
        scene.overview(|overview| !overview.slots.is_empty()).await;
        let broken = damage(&scene.node);
        let (exit, preview) = preview(&scene.bus).await;
        assert_eq!((exit, preview.prospect), (7, Prospect::Fail), "{preview:?}");
        let (named, given, found) = failed(&preview);
        assert_eq!((named, given), (subject, Some(code)));
        assert!(found.contains(sentence), "{found}");
        assert!(preview.summary.contains(sentence), "{}", preview.summary);

        // An update says the same, unless it can't even note that it asks.
        scene.attempt(IDLE).await;
        drop(broken);
        let failure = scene.overview(|overview| overview.last_failure.0.is_some()).await;
        let failure = failure.last_failure.0.unwrap();
        if subject != "state directory" {
            assert_eq!(failure.code, code);
            assert!(found.starts_with(&failure.sentence), "{found}");
        }
    }
}

/// Takes root: it mounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_without_room_refuses_an_update_before_anything_is_touched() {
    if !may_mount() {
        return;
    }
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let state = scene.node.path(STATE);
    std::fs::create_dir_all(&state).unwrap();
    // Room for preferences, and less than the mebibyte that an update asks for. Gone with the
    // daemon.
    scene.node.before = format!(
        r#"exec unshare --mount sh -c 'mount -t tmpfs -o size=512k tmpfs "$0" && exec "$@"' {} "$0" "$@""#,
        quoted(&state)
    );
    let _daemon = scene.boot(SlotName::A).await;
    scene.overview(|overview| !overview.slots.is_empty()).await;
    let (exit, preview) = preview(&scene.bus).await;
    assert_eq!((exit, preview.prospect), (7, Prospect::Fail), "{preview:?}");
    let (named, given, found) = failed(&preview);
    assert_eq!((named, given), ("state directory", Some(20)));
    assert!(found.starts_with(state.to_str().unwrap()), "{found}");
    assert!(
        found.contains("free bytes, the engine's own files need 1048576"),
        "{found}"
    );

    let untouched = scene.node.disk.attributes(SlotName::B);
    scene.attempt(IDLE).await;
    let failure = scene.overview(|overview| overview.last_failure.0.is_some()).await;
    let failure = failure.last_failure.0.unwrap();
    assert_eq!(failure.code, 20);
    assert!(
        failure.sentence.contains("the engine's own files need 1048576"),
        "{failure:?}"
    );
    assert_eq!(scene.node.disk.attributes(SlotName::B), untouched);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_on_trial_puts_an_update_off_only_if_more_is_required_of_it_than_to_run() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    let _daemon = scene.boot(SlotName::A).await;
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!(exit, 0, "{told:?}");
    let check = told.checks.iter().find(|check| check.subject == "running slot");
    let check = check.unwrap();
    assert_eq!(check.result, CheckResult::Ok);
    assert!(
        check.found.contains("an update does that before anything else"),
        "{check:?}"
    );

    require_a_file(&scene.node);
    let asked = Asked::questions(&scene.server).len();
    let (exit, told) = preview(&scene.bus).await;
    assert_eq!((exit, told.prospect), (6, Prospect::PutOff));
    assert_eq!(told.code, Some(36));
    assert!(
        told.summary
            .starts_with("the server is not asked while USR-A is on trial: "),
        "{told:?}"
    );
    assert_eq!(Asked::questions(&scene.server).len(), asked, "and it wasn't");
    assert_eq!(
        scene.node.disk.attributes(SlotName::A),
        (2, 0, 0),
        "nobody marked it"
    );
}

/// Takes root: it becomes other users.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_may_look_ahead_and_nobody_else_but_root() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let _engine = BusEngine::on(&bus).await;
    // The engine of this test refuses everybody whom the bus lets through.
    for (uid, exit) in [(0, 1), (CORE_UID, 1), (NOBODY_UID, 4)] {
        let mut client = tokio::process::Command::from(client_process(&bus, uid));
        let output = client.args(["check", "--dry-run"]).output().await.unwrap();
        assert_eq!(output.status.code(), Some(exit), "{uid}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_does_not_fit_or_does_not_come_is_told_from_its_first_bytes() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let whole = payload.len();
    for (slot, faults, code, sentence) in [
        (1 << 20, "", 23, "the payload is refused"),
        (16 << 20, "status=404", 9, "404"),
    ] {
        let server = BadServer::offering(payload.clone(), faults, |offer| offer.size = whole);
        let node = Node::with_slots(&server.url(), slot);
        let mut scene = Scene::with(server, node).await;
        let _daemon = scene.boot(SlotName::A).await;
        let (exit, preview) = preview(&scene.bus).await;
        assert_eq!(exit, 7, "{preview:?}");
        let (subject, given, found) = failed(&preview);
        assert_eq!((subject, given), ("payload", Some(code)), "{found}");
        assert!(found.contains(sentence), "{found}");
    }
}
