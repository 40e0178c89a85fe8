//! Who is neither root nor in the group may give orders when polkit says so. All of these take
//! root.

use std::os::unix::process::CommandExt as _;
use std::process::{Output, Stdio};

use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use update_engine::bus::{CONTROL_INTERFACE, CONTROL_PATH, ENGINE_INTERFACE, ENGINE_PATH, SERVICE};
use zbus::MessageStream;
use zbus::message::Type;

use crate::support::bus_engine::BusEngine;
use crate::support::node::quoted;
use crate::support::other_users::{client_of, client_process, may_become_others};
use crate::support::polkit::Polkit;
use test_support::bus::{Accounts, CORE_UID, NOBODY_UID, PrivateBus};

const GOLDEN: &str = include_str!("../../../dbus/org.updateengine.Control1.xml");

/// Lets `nobody` check and look ahead, forbids it to mark the slot good, and leaves the rest to a
/// password.
const RULES: &str = r#"polkit.addRule(function(action, subject) {
    if (subject.user != "nobody") return polkit.Result.NOT_HANDLED;
    if (action.id == "org.updateengine.check" || action.id == "org.updateengine.preview") return polkit.Result.YES;
    if (action.id == "org.updateengine.mark-good") return polkit.Result.NO;
});"#;

/// The methods of the documented interface, with what they take.
fn methods() -> Vec<(&'static str, &'static [&'static str])> {
    let names = GOLDEN.split("<method name=\"").skip(1);
    names
        .map(|rest| match rest.split_once('"').unwrap().0 {
            "Reset" => ("Reset", ["boolean:true"].as_slice()),
            name => (name, [].as_slice()),
        })
        .collect()
}

/// Calls a method of the object for orders as user `uid`, in a way that leaves nobody to be asked.
async fn order(bus: &PrivateBus, uid: u32, method: &str, arguments: &[&str]) -> Output {
    let mut process = bus.process("dbus-send");
    process
        .arg(format!("--bus={}", bus.address()))
        .arg(format!("--dest={SERVICE}"))
        .args(["--print-reply", "--reply-timeout=60000", CONTROL_PATH])
        .arg(format!("{CONTROL_INTERFACE}.{method}"))
        .args(arguments)
        .uid(uid)
        .gid(uid);
    let mut process = Command::from(process);
    process.kill_on_drop(true).output().await.unwrap()
}

#[track_caller]
fn assert_refused(output: &Output, sentence: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(sentence), "{output:?}");
}

/// Our client as `nobody`: its output, and its exit code.
async fn client(bus: &PrivateBus, arguments: &[&str]) -> (String, Option<i32>) {
    let mut process = Command::from(client_process(bus, NOBODY_UID));
    let output = process
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn polkits_rules_decide_for_everybody_whom_the_bus_refuses() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    let _polkit = Polkit::start(&bus, RULES).await;

    let allowed = order(&bus, NOBODY_UID, "Check", &[]).await;
    assert!(allowed.status.success(), "{allowed:?}");
    assert_eq!(engine.attempts(), 1);
    // Let through, and refused by the engine.
    let looked = order(&bus, NOBODY_UID, "Preview", &[]).await;
    assert_refused(&looked, "nothing to be seen here");
    for (method, arguments) in [("RollBack", [].as_slice()), ("Reset", &["boolean:true"])] {
        let refused = order(&bus, NOBODY_UID, method, arguments).await;
        assert_refused(
            &refused,
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
        );
        assert_refused(&refused, "the call does not say that somebody can be asked");
    }
    let forbidden = order(&bus, NOBODY_UID, "MarkGood", &[]).await;
    assert_refused(&forbidden, "org.freedesktop.DBus.Error.AccessDenied");
    assert_refused(&forbidden, "polkit does not allow org.updateengine.mark-good");
    // Another account has no rule.
    let other = order(&bus, CORE_UID, "Check", &[]).await;
    assert!(!other.status.success(), "{other:?}");
    assert_eq!(engine.attempts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_asks_polkit_when_the_bus_refuses() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    let _polkit = Polkit::start(&bus, RULES).await;
    let (said, exit) = client(&bus, &["check"]).await;
    assert_eq!((exit, engine.attempts()), (Some(0), 1), "{said}");
    let (said, exit) = client(&bus, &["check", "--dry-run"]).await;
    assert_eq!(exit, Some(1));
    assert!(said.contains("refused: nothing to be seen here"), "{said}");
    for command in ["mark-good", "rollback", "reset"] {
        let (said, exit) = client(&bus, &[command]).await;
        assert_eq!(exit, Some(4), "{said}");
        assert!(
            said.contains("not allowed: polkit ") && said.contains("Try it as root"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_terminal_an_administrators_password_is_asked_for_there() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let _engine = BusEngine::on(&bus).await;
    let _polkit = Polkit::start(&bus, RULES).await;
    let mut terminal = bus.process("script");
    let command = format!("{} rollback", quoted(client_of(&bus)));
    terminal.args(["--quiet", "--return", "--command", &command, "/dev/null"]);
    terminal.uid(NOBODY_UID).gid(NOBODY_UID);
    let mut terminal = Command::from(terminal)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let is_asked = line.contains("AUTHENTICATING FOR org.updateengine.rollback");
        said.push(line);
        if is_asked {
            return;
        }
    }
    let log = std::fs::read_to_string(bus.path("polkit.log")).unwrap();
    panic!("nobody was asked: {said:?}\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_polkit_nobody_is_let_in_by_it() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    assert_eq!(methods().len(), 8);
    for (method, arguments) in methods() {
        for uid in [CORE_UID, NOBODY_UID] {
            let refused = order(&bus, uid, method, arguments).await;
            assert_refused(&refused, "this node has no polkit that could allow it");
        }
    }
    let (said, exit) = client(&bus, &["check"]).await;
    assert_eq!(exit, Some(4), "{said}");
    assert!(
        said.contains("Try it as root, or as a member of the group update-engine"),
        "{said}"
    );
    assert_eq!(engine.attempts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_polkit_thinks_everybody_else_is_served() {
    if !may_become_others() {
        return;
    }
    let bus = PrivateBus::start(Accounts::WithCore);
    let engine = BusEngine::on(&bus).await;
    // Has the name, and never answers.
    let thinking = bus.connect().await;
    let mut asked = MessageStream::from(&thinking);
    thinking.request_name("org.freedesktop.PolicyKit1").await.unwrap();
    let mut waiting = Vec::new();
    for uid in [CORE_UID, NOBODY_UID] {
        waiting.push(Box::pin(order(&bus, uid, "Check", &[])));
    }
    let is_question = |message: &zbus::Message| message.message_type() == Type::MethodCall;
    let questions = async {
        let mut questions = 0;
        while questions < 2 {
            questions += usize::from(is_question(&asked.next().await.unwrap().unwrap()));
        }
    };
    tokio::select! {
        answer = futures_util::future::select_all(&mut waiting) => panic!("answered: {:?}", answer.0),
        () = questions => {}
    }

    let root = bus.connect().await;
    let check = root
        .call_method(Some(SERVICE), ENGINE_PATH, Some(ENGINE_INTERFACE), "Check", &())
        .await;
    check.unwrap();
    assert_eq!(engine.attempts(), 1);
}
