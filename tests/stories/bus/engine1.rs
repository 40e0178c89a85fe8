//! Our own interface: what it says, to whom, and when it says so by itself.

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::process::Output;

use futures_util::StreamExt as _;
use update_engine::bus::{
    CONTROL_INTERFACE, CONTROL_PATH, DIAGNOSTICS_INTERFACE, DIAGNOSTICS_PATH, ENGINE_INTERFACE, ENGINE_PATH,
    SERVICE,
};
use update_engine::disk::SlotName;
use update_engine::status::{
    Diagnostics, EngineState, HealthReport, Maybe, Obstacle, Overview, Snapshot, Tally, Transfer,
};
use zbus::fdo::PropertiesProxy;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedVariant};

use crate::support::bus_engine::BusEngine;
use crate::support::health::{REBOOT, require_a_file};
use crate::support::other_users::may_become_others;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::bus::{Accounts, CORE_UID, GROUP_GID, MEMBER_UID, NOBODY_UID, PrivateBus};
use test_support::fixtures;

/// The first element of `xml` that is an interface of this name, white space aside.
fn interface_element(xml: &str, name: &str) -> String {
    let start = xml.find(&format!("<interface name=\"{name}\">")).unwrap();
    let length = xml[start..].find("</interface>").unwrap();
    let words = xml[start..start + length].split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

async fn introspect(client: &Connection, path: &str) -> String {
    let reply = client
        .call_method(
            Some(SERVICE),
            path,
            Some("org.freedesktop.DBus.Introspectable"),
            "Introspect",
            &(),
        )
        .await
        .unwrap();
    reply.body().deserialize().unwrap()
}

#[tokio::test]
async fn introspections_are_the_documented_ones() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    for (path, name, golden) in [
        (
            ENGINE_PATH,
            ENGINE_INTERFACE,
            include_str!("../../../dbus/org.updateengine.Engine1.xml"),
        ),
        (
            DIAGNOSTICS_PATH,
            DIAGNOSTICS_INTERFACE,
            include_str!("../../../dbus/org.updateengine.Diagnostics1.xml"),
        ),
        (
            CONTROL_PATH,
            CONTROL_INTERFACE,
            include_str!("../../../dbus/org.updateengine.Control1.xml"),
        ),
    ] {
        let xml = introspect(&client, path).await;
        assert_eq!(interface_element(&xml, name), interface_element(golden, name));
    }
}

fn downloading(bytes_done: u64) -> Snapshot {
    let transfer = Transfer {
        bytes_done,
        bytes_total: 100,
        bytes_per_second: Some(7),
        eta_seconds: None,
        content_package: None,
    };
    Snapshot {
        overview: Overview {
            state: EngineState::Downloading,
            running_version: "1.0.0".to_owned(),
            progress: Some(transfer).into(),
            ..Overview::default()
        },
        diagnostics: Diagnostics {
            rollback_output: "no answer".to_owned(),
        },
        attempts: Vec::new(),
        health: HealthReport::default(),
        tally: Tally::default(),
    }
}

#[tokio::test]
async fn what_changed_is_signalled_and_nothing_else() {
    let bus = PrivateBus::start(Accounts::Ours);
    let engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .path(ENGINE_PATH)
        .member("PropertiesChanged")
        .build()
        .unwrap();
    let mut signals = MessageStream::for_match_rule(rule, &client, None).await.unwrap();

    let mut seen = Vec::new();
    for bytes in [1, 2] {
        engine.publish(downloading(bytes));
        let signal = signals.next().await.unwrap().unwrap();
        let body = signal.body();
        let (name, changed, gone): (String, HashMap<String, OwnedVariant>, Vec<String>) =
            body.deserialize().unwrap();
        assert_eq!((name.as_str(), gone), (ENGINE_INTERFACE, vec![]));
        let mut names: Vec<_> = changed.into_keys().collect();
        names.sort();
        seen.push(names);
    }
    assert_eq!(
        seen,
        [vec!["Progress", "RunningVersion", "State"], vec!["Progress"]]
    );
    let mut read = Overview::read(&client).await.unwrap();
    // Engines that don't know the property say nothing instead.
    assert_eq!(read.config_warnings.take(), Some(vec![]));
    assert_eq!(read.boot_warnings.take(), Some(vec![]));
    assert_eq!(read.health_warnings.take(), Some(vec![]));
    assert_eq!(read.trial_deadline.take(), Some(0));
    assert_eq!(read.installed_updates.take(), Some(0));
    assert_eq!(read.extension_warnings.take(), Some(vec![]));
    assert_eq!(read, downloading(2).overview);
    assert_eq!(
        Diagnostics::read(&client).await.unwrap(),
        downloading(2).diagnostics
    );
}

/// Reads all properties of the object at `path` as user `uid`, by dbus-send.
fn read_as(bus: &PrivateBus, uid: u32, path: &str, interface: &str) -> Output {
    bus.process("dbus-send")
        .arg(format!("--bus={}", bus.address()))
        .arg(format!("--dest={SERVICE}"))
        .args(["--print-reply", path])
        .arg("org.freedesktop.DBus.Properties.GetAll")
        .arg(format!("string:{interface}"))
        .uid(uid)
        .gid(uid)
        .output()
        .unwrap()
}

/// Takes root: it becomes other users.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_read_the_state_and_only_root_what_programs_said() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    engine.publish(downloading(1));
    for uid in [0, CORE_UID, NOBODY_UID] {
        let output = read_as(&bus, uid, ENGINE_PATH, ENGINE_INTERFACE);
        assert!(output.status.success(), "{uid}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("no answer"));
    }
    assert!(
        read_as(&bus, 0, DIAGNOSTICS_PATH, DIAGNOSTICS_INTERFACE)
            .status
            .success()
    );
    for uid in [CORE_UID, NOBODY_UID] {
        let output = read_as(&bus, uid, DIAGNOSTICS_PATH, DIAGNOSTICS_INTERFACE);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("AccessDenied"), "{uid}: {output:?}");
    }
}

/// As an account whose only right is to be in the group.
fn as_member(bus: &PrivateBus, program: &str, arguments: &[&str]) -> Output {
    bus.process("setpriv")
        .arg(format!("--reuid={MEMBER_UID}"))
        .arg(format!("--regid={MEMBER_UID}"))
        .arg(format!("--groups={GROUP_GID}"))
        .arg(program)
        .args(arguments)
        .output()
        .unwrap()
}

/// Takes root: it becomes other users.
#[tokio::test(flavor = "multi_thread")]
async fn the_group_may_use_our_own_object_and_read_what_programs_said() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    engine.publish(downloading(1));
    let (destination, address) = (format!("--dest={SERVICE}"), format!("--bus={}", bus.address()));
    let call = |path: &str, method: &str, rest: &[&str]| {
        let first = [address.as_str(), &destination, "--print-reply", path, method];
        let output = as_member(&bus, "dbus-send", &[&first, rest].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_done, said) = call(ENGINE_PATH, &format!("{ENGINE_INTERFACE}.Check"), &[]);
    assert!(is_done, "{said}");
    assert_eq!(engine.attempts(), 1);
    // Refused by the engine, not by the bus.
    let (_, said) = call(ENGINE_PATH, &format!("{ENGINE_INTERFACE}.RollBack"), &[]);
    assert!(said.contains("nothing to be done here"), "{said}");
    let get = "org.freedesktop.DBus.Properties.GetAll";
    let (is_done, said) = call(
        DIAGNOSTICS_PATH,
        get,
        &[&format!("string:{DIAGNOSTICS_INTERFACE}")],
    );
    assert!(is_done && said.contains("no answer"), "{said}");
    // Of the original's object only what it says.
    let (is_done, said) = call("/com/coreos/update1", "com.coreos.update1.Manager.GetStatus", &[]);
    assert!(is_done && said.contains("UPDATE_STATUS_"), "{said}");
    for method in ["AttemptUpdate", "ResetStatus"] {
        let method = format!("com.coreos.update1.Manager.{method}");
        let (is_done, said) = call("/com/coreos/update1", &method, &[]);
        assert!(!is_done && said.contains("AccessDenied"), "{said}");
    }
    let status = as_member(&bus, env!("CARGO_BIN_EXE_update_engine_client"), &["status"]);
    assert!(status.status.success(), "{status:?}");
}

#[tokio::test]
async fn no_property_can_be_set() {
    let bus = PrivateBus::start(Accounts::Ours);
    let _engine = BusEngine::on(&bus).await;
    let client = bus.connect().await;
    let properties = PropertiesProxy::builder(&client)
        .destination(SERVICE)
        .path(ENGINE_PATH)
        .build()
        .await
        .unwrap();
    let error = async |interface: &'static str, name: &str| {
        let set = properties
            .set(interface.try_into().unwrap(), name, &"idle".into())
            .await;
        set.unwrap_err().to_string()
    };
    for name in ["State", "Attempts", "BootWarnings"] {
        let said = error(ENGINE_INTERFACE, name).await;
        assert!(said.contains("PropertyReadOnly"), "{name}: {said}");
    }
    let said = error(ENGINE_INTERFACE, "Nonsense").await;
    assert!(said.contains("UnknownProperty"), "{said}");
    let said = error(DIAGNOSTICS_INTERFACE, "State").await;
    assert!(said.contains("UnknownInterface"), "{said}");
}

/// Name, version, priority, tries, successful, running.
type Slot<'a> = (&'a str, Option<&'a str>, u32, u32, bool, bool);

fn slots(overview: &Overview) -> Vec<Slot<'_>> {
    overview
        .slots
        .iter()
        .map(|slot| {
            (
                slot.name.as_str(),
                slot.version.as_deref(),
                slot.priority,
                slot.tries,
                slot.successful,
                slot.running,
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_and_its_rollback_are_told_with_versions_slots_and_causes() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let daemon = scene.boot(SlotName::A).await;
    let before = scene.overview(|overview| !overview.slots.is_empty()).await;
    assert_eq!(before.running_version, "1.0.0");
    // It was good before this boot; that it has yet to be put first makes no trial.
    assert_eq!(before.trial, "");
    assert_eq!(before.last_check, Maybe(None));
    assert!(
        before
            .next_check
            .0
            .unwrap()
            .why
            .contains("after the daemon's start")
    );

    scene.attempt(NEED_REBOOT).await;
    let installed = |overview: &Overview| overview.slots.iter().any(|slot| slot.tries == 1);
    let after = scene
        .overview(|overview| overview.state == EngineState::RebootNeeded && installed(overview))
        .await;
    assert_eq!(after.summary, "2.0.0 is installed: reboot to use it");
    assert_eq!(
        slots(&after),
        [
            ("USR-A", Some("1.0.0"), 1, 0, true, true),
            ("USR-B", Some("2.0.0"), 2, 1, false, false)
        ]
    );
    daemon.stop();
    let daemon = scene.boot(SlotName::A).await;
    let again = scene.overview(|overview| !overview.slots.is_empty()).await;
    assert_eq!(again.waiting_version, "2.0.0", "also after a restart");
    daemon.stop();

    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::B).await;
    eventually("a reboot", || scene.node.path(REBOOT).exists()).await;
    daemon.stop();
    let _daemon = scene.come_back().await;
    let rollback = scene.overview(|_| true).await.rollback.0;
    let rollback = rollback.expect("from the first answer");
    assert_eq!(rollback.version, "2.0.0");
    assert_eq!(
        rollback.cause,
        "health check /etc/update-engine/health.d/50-api ended with exit code 7"
    );
    assert_eq!(rollback.payload_sha256.unwrap().len(), 64);
    let diagnostics = Diagnostics::read(&scene.bus.connect().await).await.unwrap();
    assert_eq!(diagnostics.rollback_output, "no answer on port 6443");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_is_no_update_is_told_by_kind_and_in_words() {
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    scene.attempt(IDLE).await;
    let told = scene.overview(|overview| overview.no_update.0.is_some()).await;
    assert_eq!(told.no_update.0.unwrap().kind, Obstacle::NoneOffered);
    assert_eq!(
        told.last_check.0.unwrap().outcome,
        "the server has no update for this node"
    );

    scene.configure("SERVER=disabled\n");
    scene.attempt(IDLE).await;
    let told = scene
        .overview(|overview| overview.last_failure.0.is_some() && overview.state == EngineState::Idle)
        .await;
    assert_eq!(told.no_update.0.unwrap().kind, Obstacle::Disabled);
    let failure = told.last_failure.0.unwrap();
    assert_eq!(
        (failure.code, failure.sentence.as_str()),
        (2000, "updates are switched off: SERVER=disabled")
    );
}
