//! Files of the administrator that are there and can't be read: nobody knows what is set in them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

use nix::sys::stat::Mode;
use update_engine::disk::SlotName;
use update_engine::serve::{Ask, Exchange};
use update_engine::status::Obstacle;

use crate::support::health::{CHECK, REBOOT, become_healthy, require_a_file};
use crate::support::node::{CONFIG, quoted};
use crate::support::other_users::{client_process, may_become_others};
use crate::support::scene::{IDLE, Scene, eventually, operations};
use test_support::bus::NOBODY_UID;
use test_support::fixtures;

const NEXT_CONFIG: &str = "/usr/share/flatcar/update.conf";
const RELEASE: &str = "/usr/share/flatcar/release";
const MACHINE_ID: &str = "/etc/machine-id";
const FIRST_START: &str = "/run/update_engine/first-start";

/// Puts something in the place of a file.
type Prepare = fn(&Path);

/// What may stand in a file's place, and what is said of it.
const WAYS: [(&str, Prepare); 5] = [
    ("Is a directory", |file| fs::create_dir_all(file).unwrap()),
    ("is a link that leads nowhere", |file| {
        symlink("/nowhere", file).unwrap();
    }),
    ("Too many levels of symbolic links", |file| {
        symlink(file.file_name().unwrap(), file).unwrap();
    }),
    ("Input/output error", |file| {
        symlink("/proc/self/mem", file).unwrap();
    }),
    ("it is a pipe, not a file", |file| {
        nix::unistd::mkfifo(file, Mode::S_IRWXU).unwrap();
    }),
];

/// Whatever stands at `path` goes.
fn clear(path: &Path) {
    let Ok(found) = fs::symlink_metadata(path) else {
        return;
    };
    if found.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

async fn client_as(scene: &Scene, uid: u32, arguments: &[&str]) -> Output {
    let mut client = tokio::process::Command::from(client_process(&scene.bus, uid));
    client
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn client(scene: &Scene, arguments: &[&str]) -> String {
    let output = client_as(scene, nix::unistd::geteuid().as_raw(), arguments).await;
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// A node whose update.conf says that nobody is to be asked, while the file that would count
/// without it names a server.
async fn switched_off() -> Scene {
    let scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let server = scene.node.read(CONFIG);
    scene.node.write(NEXT_CONFIG, &server);
    scene.node.write(CONFIG, b"SERVER=disabled\n");
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_can_not_be_read_asks_nobody_and_is_named_everywhere() {
    let mut scene = switched_off().await;
    let daemon = scene.boot(SlotName::A).await;
    for (said, prepare) in WAYS {
        let file = scene.node.path(CONFIG);
        clear(&file);
        prepare(&file);
        let signals = scene.attempt(IDLE).await;
        assert_eq!(
            operations(&signals),
            ["CHECKING_FOR_UPDATE", "REPORTING_ERROR_EVENT", "IDLE"]
        );
        let sentence = format!("{CONFIG} can't be read");
        let overview = scene.overview(|overview| {
            overview
                .no_update
                .0
                .as_ref()
                .is_some_and(|why| why.reason.contains(said))
        });
        let why = overview.await.no_update.0.unwrap();
        assert!(
            why.kind == Obstacle::Failed && why.reason.starts_with(&sentence),
            "{why:?}"
        );
        for command in ["why", "status"] {
            let page = client(&scene, &[command]).await;
            assert!(
                page.contains(&sentence) && page.contains(said),
                "{command}: {page}"
            );
        }
        let root = scene.node.path("/");
        let config = client_as(
            &scene,
            nix::unistd::geteuid().as_raw(),
            &["config", "--root", root.to_str().unwrap()],
        )
        .await;
        if said != "Input/output error" {
            assert_eq!(config.status.code(), Some(1));
            assert!(
                String::from_utf8_lossy(&config.stderr).contains(&sentence),
                "{config:?}"
            );
        }
        assert!(daemon.log().contains(said), "{said}");
    }
    assert!(scene.server.journal().exchanges().is_empty(), "nobody is asked");

    // The control: where it is really missing, the next file counts.
    clear(&scene.node.path(CONFIG));
    scene.attempt(crate::support::scene::NEED_REBOOT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_that_a_check_needs_refuses_it_by_name() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    let files = [
        CONFIG,
        NEXT_CONFIG,
        RELEASE,
        "/etc/oem-release",
        "/usr/share/oem/oem-release",
        MACHINE_ID,
        "/root/.dev_mode",
    ];
    for file in files {
        let path = scene.node.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = fs::read(&path).ok();
        clear(&path);
        symlink(path.file_name().unwrap(), &path).unwrap();
        scene.server.journal().clear();
        scene.attempt(IDLE).await;
        // Who knows the server but not who we are tells it nothing either.
        let asked = scene.server.journal().exchanges();
        assert!(
            asked
                .iter()
                .all(|exchange| !exchange.question.asks.contains(&Ask::UpdateCheck)),
            "{file}"
        );
        let overview = scene.overview(|overview| {
            overview
                .last_failure
                .0
                .as_ref()
                .is_some_and(|failure| failure.sentence.contains(file))
        });
        assert_eq!(overview.await.last_failure.0.unwrap().code, 2);
        clear(&path);
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        scene.attempt(IDLE).await;
        assert!(
            scene.server.journal().exchanges().iter().any(Exchange::is_check),
            "{file}"
        );
    }
}

/// A node on trial in slot A, whose trial has a deadline of a second, and a check that fails.
async fn on_trial() -> Scene {
    let scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.node.disk.set_attributes(SlotName::A, (2, 0, 0));
    scene
        .node
        .write(NEXT_CONFIG, b"HEALTH_SETTLE=1\nHEALTH_DEADLINE=1\n");
    require_a_file(&scene.node);
    scene
}

/// So that the deadline is over.
async fn two_more_looks(scene: &Scene) {
    let read = || fs::read(scene.node.path(FIRST_START)).ok();
    for _ in 0..2 {
        let before = read();
        eventually("a look", || read() != before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_whose_gate_can_not_be_read_is_held_named_and_ended_by_nobody_but_the_operator() {
    // The gate itself, and the directory that holds it.
    for file in [CONFIG, "/etc/update-engine/health.d"] {
        let mut scene = on_trial().await;
        let path = scene.node.path(file);
        clear(&path);
        symlink("/proc/self/mem", &path).unwrap();
        let daemon = scene.boot(SlotName::A).await;
        let said = format!("trial of the running slot: {file} can't be read: ");
        eventually("it is held", || daemon.log().contains(&said)).await;
        two_more_looks(&scene).await;
        assert_eq!(
            scene.node.disk.attributes(SlotName::A),
            (2, 0, 0),
            "neither good nor left"
        );
        assert!(!scene.node.path(REBOOT).exists());
        scene.attempt(IDLE).await;
        assert_eq!(
            scene.node.disk.attributes(SlotName::A),
            (2, 0, 0),
            "an attempt marks nothing"
        );
        let sentence = format!("{file} can't be read");
        for command in ["why", "status"] {
            let page = client(&scene, &[command]).await;
            let trial = page.lines().find(|line| line.starts_with("On trial")).unwrap();
            assert!(trial.contains(&sentence), "{page}");
        }
        client(&scene, &["mark-good"]).await;
        assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
        assert_eq!(
            scene.node.disk.attributes(SlotName::B),
            (1, 0, 1),
            "nobody is blamed"
        );
        assert!(scene.overview(|_| true).await.rollback.0.is_none());
    }
}

/// As `systemd-confext` mounts `/etc` by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_where_nothing_can_be_executed_holds_the_trial_and_blames_nobody() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut scene = on_trial().await;
    let directory = scene.node.path("/etc/update-engine/health.d");
    scene.node.before = format!(
        r#"exec unshare --mount sh -c 'mount --bind "$0" "$0" && mount -o remount,bind,noexec "$0" && exec "$@"' {} "$0" "$@""#,
        quoted(directory)
    );
    let daemon = scene.boot(SlotName::A).await;
    let said = format!("trial of the running slot: {CHECK} can't be read: its file system is mounted noexec");
    eventually("it is held", || daemon.log().contains(&said)).await;
    two_more_looks(&scene).await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 0));
    assert!(!scene.node.path(REBOOT).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_is_put_right_counts_from_then_on() {
    let mut scene = on_trial().await;
    scene
        .node
        .write(NEXT_CONFIG, b"HEALTH_SETTLE=1\nHEALTH_DEADLINE=600\n");
    let path = scene.node.path(CONFIG);
    let config = fs::read(&path).unwrap();
    clear(&path);
    fs::create_dir(&path).unwrap();
    let daemon = scene.boot(SlotName::A).await;
    eventually("it is held", || daemon.log().contains("Is a directory")).await;
    fs::remove_dir(&path).unwrap();
    fs::write(&path, config).unwrap();
    eventually("the gate counts", || {
        daemon.log().contains("no answer on port 6443")
    })
    .await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 0));
    become_healthy(&scene.node);
    eventually("marked good", || {
        scene.node.disk.attributes(SlotName::A) == (2, 0, 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_can_be_no_unit_holds_the_trial_and_is_named() {
    let mut scene = on_trial().await;
    fs::remove_file(scene.node.path(CHECK)).unwrap();
    scene.configure("HEALTH_UNITS=a/b\nHEALTH_DEADLINE=1\n");
    let daemon = scene.boot(SlotName::A).await;
    let said = "trial of the running slot: HEALTH_UNITS has \"a/b\", which can't be a unit's name";
    eventually("it is held", || daemon.log().contains(said)).await;
    two_more_looks(&scene).await;
    assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 0));
    assert!(!scene.node.path(REBOOT).exists());
    assert!(
        client(&scene, &["why"])
            .await
            .contains("no new slot is marked good until it is corrected")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_boot_partition_of_which_nobody_knows_is_not_written() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let _daemon = scene.boot(SlotName::A).await;
    fs::write(scene.node.path("/boot/coreos"), "").unwrap();
    scene.attempt(IDLE).await;
    let failure = scene
        .overview(|overview| overview.last_failure.0.is_some())
        .await
        .last_failure
        .0
        .unwrap();
    assert_eq!(failure.sentence, "/boot/coreos/vmlinuz-a can't be read");
    assert_eq!(scene.node.disk.attributes(SlotName::B), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_state_that_can_not_be_read_counts_as_forgotten() {
    let mut scene = Scene::quiet().await;
    let prefs = scene.node.path("/var/lib/update_engine/prefs");
    for name in ["previous-version", "aleph-version"] {
        fs::create_dir_all(&prefs).unwrap();
        symlink(name, prefs.join(name)).unwrap();
    }
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    assert!(scene.server.journal().exchanges().iter().any(Exchange::is_check));
    for name in ["previous-version", "the first version"] {
        assert!(
            daemon.log().contains(&format!("{name} counts as forgotten")),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_almost_is_a_setting_is_told_once_for_each_content() {
    let mut scene = Scene::quiet().await;
    let config = scene.node.read(CONFIG);
    let with = |line: &str| [&config, line.as_bytes()].concat();
    scene.node.write(CONFIG, &with("export SERVER=disabled\n"));
    let daemon = scene.boot(SlotName::A).await;
    let told = "update.conf, line 3: SERVER is not set here, since `export` stands before it";
    let count = || daemon.log().matches(told).count();
    for _ in 0..3 {
        scene.attempt(IDLE).await;
    }
    assert_eq!(count(), 1, "{}", daemon.log());
    assert!(
        scene.server.journal().exchanges().iter().any(Exchange::is_check),
        "the grammar is what it was"
    );
    assert!(client(&scene, &["why"]).await.contains(told));
    let root = scene.node.path("/");
    let page = client(&scene, &["config", "--root", root.to_str().unwrap()]).await;
    assert!(
        page.contains(&format!("# warning: /etc/flatcar/{told}")),
        "{page}"
    );

    scene.node.write(CONFIG, &with("export SERVER=disabled\nX=y\n"));
    scene.attempt(IDLE).await;
    scene.attempt(IDLE).await;
    assert_eq!(count(), 2);
    scene.node.write(CONFIG, &config);
    scene.attempt(IDLE).await;
    scene
        .overview(|overview| overview.config_warnings == Some(vec![]))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_the_configuration_is_told_so_and_not_the_defaults() {
    if !may_become_others() {
        return;
    }
    let scene = Scene::quiet().await;
    let root = scene.node.path("/");
    for path in root.ancestors().take_while(|path| *path != std::env::temp_dir()) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let file = scene.node.path(CONFIG);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let output = client_as(&scene, NOBODY_UID, &["config", "--root", root.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("/etc/flatcar/update.conf can't be read: Permission denied"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}
