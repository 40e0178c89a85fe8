//! A system that runs from memory: it has no slots, and tells its server that it is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use tempfile::TempDir;
use update_engine::serve::{Ask, Server};

const PROGRAM: &str = env!("CARGO_BIN_EXE_update_engine");

fn stub(server: &str) -> (TempDir, Output) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    for (path, text) in [
        (
            "etc/flatcar/update.conf",
            format!("GROUP=beta\nSERVER={server}\nMACHINE_ALIAS=a\"b\n"),
        ),
        ("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n".to_owned()),
        (
            "usr/share/flatcar/release",
            "FLATCAR_RELEASE_VERSION=1.0.0\n".to_owned(),
        ),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    let link = directory.path().join("update_engine_stub");
    symlink(PROGRAM, &link).unwrap();
    let output = Command::new(link).arg("-root").arg(root).output().unwrap();
    (directory, output)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reports_its_version_asks_for_nothing_and_is_understood() {
    let server = Server::start(([127, 0, 0, 1], 0).into(), None).await.unwrap();
    let (_directory, output) = stub(&server.url());
    assert!(output.status.success(), "{output:?}");
    let exchanges = server.journal().exchanges();
    assert_eq!(exchanges.len(), 1);
    let question = &exchanges[0].question;
    assert_eq!(question.app.version, "1.0.0");
    assert_eq!(question.app.track, "beta");
    let [Ask::Event(event)] = question.asks.as_slice() else {
        panic!("{:?}", question.asks);
    };
    assert_eq!((event.kind, event.result), (3, 2));
    assert_eq!(event.previous_version.as_deref(), Some(""));
}

#[test]
fn a_configuration_that_can_not_be_read_is_its_failure_and_nobody_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("etc/flatcar/update.conf")).unwrap();
    let link = directory.path().join("update_engine_stub");
    symlink(PROGRAM, &link).unwrap();
    let output = Command::new(link).arg("-root").arg(root).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "/etc/flatcar/update.conf can't be read: Is a directory (os error 21)\n"
    );
}

#[test]
fn a_server_that_is_not_there_is_its_failure_and_a_disabled_one_is_not() {
    let (_directory, output) = stub("http://127.0.0.1:1/");
    assert_eq!(output.status.code(), Some(1));
    let (_directory, output) = stub("disabled");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn its_units_are_valid_and_only_for_systems_without_slots() {
    let units = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    let timer = fs::read_to_string(format!("{units}/update-engine-stub.timer")).unwrap();
    for line in [
        "OnBootSec=7minutes",
        "OnActiveSec=41minutes",
        "ConditionPathExists=/usr/.noupdate",
    ] {
        assert!(timer.contains(line), "{line}");
    }
    let daemon = fs::read_to_string(format!("{units}/update-engine.service")).unwrap();
    assert!(daemon.contains("ConditionPathExists=!/usr/.noupdate"));
}
