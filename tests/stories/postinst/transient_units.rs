//! Programs that aren't ours, run by systemd as units of their own: how they end, and how they are
//! ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use update_engine::disk::SlotName;
use update_engine::serve::{Catalog, Server};

use crate::install::refusals::PRIVATE;
use crate::support::health::CHECK;
use crate::support::loops::{may_mount, run};
use crate::support::machine::seems_to_be_a_machine;
use crate::support::node::{Daemon, Node, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use crate::support::transient::Transient;
use test_support::fixtures;

const POSTINST: &str = "update-engine-postinst.service";
/// The look into the slot before it.
const LOOK: &str = "update-engine-look-at-image.service";
const SLOT: u64 = 4 << 20;
/// Where scripts leave word; on the node beside its state.
const WORD: &str = "/var/lib/update_engine/word";

/// A machine under a systemd, and a server that offers an image with a postinst.
struct Machine {
    scene: Scene,
    systemd: Transient,
    /// Of the payload.
    _directory: TempDir,
}

/// An image for `board` with this script as its postinst, as a signed payload.
fn payload(directory: &Path, script: &str, board: &str) -> Vec<u8> {
    use std::os::unix::fs::PermissionsExt as _;
    let (tree, image) = (directory.join("tree"), directory.join("image"));
    fs::create_dir_all(tree.join("share/flatcar")).unwrap();
    let release = format!("FLATCAR_RELEASE_BOARD={board}\n");
    fs::write(tree.join("share/flatcar/release"), release).unwrap();
    let postinst = tree.join("postinst");
    fs::write(&postinst, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(postinst, fs::Permissions::from_mode(0o755)).unwrap();
    fs::File::create(&image).unwrap().set_len(SLOT).unwrap();
    let (tree, image) = (tree.to_str().unwrap(), image.to_str().unwrap());
    run("mkfs.ext2", &["-q", "-d", tree, image]);
    fixtures::signed(&fs::read(image).unwrap())
}

impl Machine {
    async fn offered(script: &str) -> Self {
        Self::offered_for("amd64-usr", script).await
    }

    async fn offered_for(board: &str, script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("payload");
        fs::write(&file, payload(directory.path(), script, board)).unwrap();
        let catalog = Catalog::open("2.0.0", &file).unwrap();
        let server = Server::start(([127, 0, 0, 1], 0).into(), Some(catalog))
            .await
            .unwrap();
        let mut node = Node::with_slots(&server.url(), SLOT);
        seems_to_be_a_machine(&mut node);
        let scene = Scene::with(server, node).await;
        let systemd = Transient::start(&scene.bus).await;
        Self {
            scene,
            systemd,
            _directory: directory,
        }
    }

    async fn boot(&mut self) -> Daemon {
        let daemon = self.scene.boot(SlotName::A).await;
        self.systemd.runs_on_the_machine_of(daemon.id());
        daemon
    }

    fn word(&self) -> Option<String> {
        fs::read_to_string(self.scene.node.path(WORD)).ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postinst_that_agrees_runs_as_a_unit_with_a_bare_environment() {
    if !may_mount() {
        return;
    }
    let mut machine = Machine::offered("echo of $0; shift; echo told \"$@\"; env; exit 0").await;
    let daemon = machine.boot().await;
    machine.scene.attempt(NEED_REBOOT).await;
    let log = daemon.log();
    let output = &log[log.find("Subprocess output:\n").unwrap()..];
    assert!(
        output.contains("/postinst\ntold KERNEL=/boot/flatcar/vmlinuz-b\n"),
        "{output}"
    );
    for hidden in ["DBUS_", "CARGO", "JOURNAL_STREAM"] {
        assert!(!output.contains(hidden), "{output}");
    }
    assert_eq!(machine.systemd.asked_of(POSTINST), ["start"]);
    // An hour, and what ending it takes, should we not be there any more.
    assert_eq!(machine.systemd.runtime_max(POSTINST), 3_620_000_000);
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_units_exit_code_and_signal_are_the_postinsts() {
    if !may_mount() {
        return;
    }
    for (script, code, said) in [
        ("exit 7", 5, "postinst ended with exit code 7"),
        ("kill -9 $$", 5, "postinst was killed by signal 9"),
    ] {
        let mut machine = Machine::offered(script).await;
        let daemon = machine.boot().await;
        machine.scene.attempt(IDLE).await;
        assert!(daemon.log().contains(said), "{}", daemon.log());
        let event = machine.scene.events().pop().unwrap();
        assert_eq!(event, (3, 0, Some(PRIVATE + code)));
        assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (0, 0, 0));
        daemon.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_stopped_ends_its_postinst() {
    if !may_mount() {
        return;
    }
    let mut machine = Machine::offered(&format!("echo begun >{WORD}; exec sleep 1000")).await;
    let daemon = machine.boot().await;
    machine.scene.attempt("UPDATE_STATUS_FINALIZING").await;
    eventually("the script runs", || machine.word().is_some()).await;
    let asked = Instant::now();
    assert!(daemon.stop().success());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!(machine.systemd.asked_of(POSTINST), ["start", "SIGKILL"]);
    assert_eq!(machine.systemd.end_of(POSTINST), Some((2, 9)));
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_the_postinst_runs_ends_it_and_is_answered_when_it_has_ended() {
    if !may_mount() {
        return;
    }
    let mut machine = Machine::offered(&format!("echo begun >{WORD}; exec sleep 1000")).await;
    let daemon = machine.boot().await;
    machine.scene.attempt("UPDATE_STATUS_FINALIZING").await;
    eventually("the script runs", || machine.word().is_some()).await;

    let mut cancel = machine
        .scene
        .bus
        .process(env!("CARGO_BIN_EXE_update_engine_client"));
    cancel.arg("cancel");
    let cancel = tokio::process::Command::from(cancel).output().await.unwrap();
    assert!(cancel.status.success(), "{cancel:?}");
    let said = String::from_utf8(cancel.stdout).unwrap();
    assert_eq!(
        said,
        "the update is broken off; what has been downloaded is kept\n"
    );
    // Then it is over, not only asked for.
    assert_eq!(machine.systemd.end_of(POSTINST), Some((2, 9)));
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    machine.scene.signals_until(IDLE).await;
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_while_the_postinst_runs_is_refused_says_what_to_do_and_changes_nothing() {
    if !may_mount() {
        return;
    }
    let go_on = format!("{WORD}-go-on");
    let script = format!("echo begun >{WORD}; until [ -e {go_on} ]; do sleep 0.1; done; exit 0");
    let mut machine = Machine::offered(&script).await;
    let daemon = machine.boot().await;
    machine.scene.attempt("UPDATE_STATUS_FINALIZING").await;
    eventually("the script runs", || machine.word().is_some()).await;

    assert_eq!(
        client(&machine.scene.bus, "-reset_status").await.1.code(),
        Some(1)
    );
    let mut reset = machine
        .scene
        .bus
        .process(env!("CARGO_BIN_EXE_update_engine_client"));
    reset.arg("reset");
    let reset = tokio::process::Command::from(reset).output().await.unwrap();
    assert_eq!(reset.status.code(), Some(1));
    let said = String::from_utf8(reset.stderr).unwrap();
    let why = "refused: a withdrawal has no meaning while an update is being finished";
    assert!(said.contains(why) && said.contains("status --watch"), "{said}");

    machine.scene.node.write(&go_on, b"");
    machine.scene.signals_until(NEED_REBOOT).await;
    assert_eq!(machine.systemd.asked_of(POSTINST), ["start"]);
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    // What waits can be reset.
    assert!(client(&machine.scene.bus, "-reset_status").await.1.success());
    daemon.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postinst_that_a_killed_daemon_left_behind_is_ended_before_the_next_one() {
    if !may_mount() {
        return;
    }
    let script = format!("[ -e {WORD} ] && exit 0; echo begun >{WORD}; exec sleep 1000");
    let mut machine = Machine::offered(&script).await;
    let daemon = machine.boot().await;
    machine.scene.attempt("UPDATE_STATUS_FINALIZING").await;
    eventually("the script runs", || machine.word().is_some()).await;
    daemon.kill();
    assert_eq!(machine.systemd.end_of(POSTINST), None, "nobody has ended it yet");
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (0, 0, 0));

    let daemon = machine.boot().await;
    machine.scene.attempt(NEED_REBOOT).await;
    assert_eq!(machine.systemd.asked_of(POSTINST), ["start", "stop", "start"]);
    assert_eq!(machine.systemd.end_of(POSTINST), Some((1, 0)));
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (2, 1, 0));
    daemon.stop();
}

/// The other stories are its control: their images are for the node's own board.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_another_board_never_runs_its_postinst() {
    if !may_mount() {
        return;
    }
    let mut machine = Machine::offered_for("arm64-usr", &format!("echo begun >{WORD}")).await;
    let daemon = machine.boot().await;
    machine.scene.attempt(IDLE).await;
    let said = "the new image is for arm64, this node runs x86-64";
    assert!(daemon.log().contains(said), "{}", daemon.log());
    let event = machine.scene.events().pop().unwrap();
    assert_eq!(event, (3, 0, Some(PRIVATE + 13)));
    assert_eq!(
        (machine.systemd.asked_of(LOOK), machine.systemd.asked_of(POSTINST)),
        (vec!["start"], vec![])
    );
    assert_eq!(machine.word(), None);
    assert_eq!(machine.scene.node.disk.attributes(SlotName::B), (0, 0, 0));
    let (_, tries, successful) = machine.scene.node.disk.attributes(SlotName::A);
    assert_eq!((tries, successful), (0, 1));
    daemon.stop();
}

/// Half a minute and the ten seconds of grace: the limits of a check are no settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_takes_too_long_is_asked_to_end_then_made_to_and_told() {
    const UNIT: &str = "update-engine-check-50-api.service";
    use std::os::unix::fs::PermissionsExt as _;
    if !may_mount() {
        return;
    }
    let machine = Machine::offered("exit 0").await;
    let node = &machine.scene.node;
    node.disk.set_attributes(SlotName::A, (2, 0, 0));
    node.write(
        CHECK,
        b"#!/bin/sh\ntrap '' TERM\necho slow\nwhile :; do sleep 1; done\n",
    );
    fs::set_permissions(node.path(CHECK), fs::Permissions::from_mode(0o755)).unwrap();
    machine.scene.configure("HEALTH_DEADLINE=0\n");
    // Services are started as soon as the daemon is there.
    let daemon = machine.scene.node.start(&machine.scene.bus, SlotName::A);
    machine.systemd.runs_on_the_machine_of(daemon.id());
    let said = "was ended after 30 s, its time limit: ";
    eventually("the check is ended", || daemon.log().contains(said)).await;
    assert!(daemon.log().contains("slow"), "{}", daemon.log());
    let asked = machine.systemd.asked_of(UNIT);
    assert_eq!(asked[..3], ["start", "SIGTERM", "SIGKILL"]);
    assert_eq!(machine.scene.node.disk.attributes(SlotName::A), (2, 0, 0));
    daemon.stop();
}
