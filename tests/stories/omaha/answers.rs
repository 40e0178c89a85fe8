//! What is said of answers that bring no update: each names what is wrong, and what the operator
//! does about it.

use std::path::Path;
use std::process::{Command, Stdio};

use update_engine::disk::SlotName;
use update_engine::serve::Exchange;
use update_engine::status::{NoUpdate, Obstacle};

use crate::install::refusals::{PRIVATE, untouched};
use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node, client};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::fixtures;
use test_support::server::Server;

const RECORDINGS: &str = "tests/fixtures/recordings/nebraska-refusals";

/// A node that asks a server of any kind of answer.
struct Asking {
    scene: Scene<Server>,
}

impl Asking {
    async fn new() -> (Self, crate::support::node::Daemon) {
        let server = Server::start();
        let node = Node::new(&server.url("nothing"));
        let mut scene = Scene::with(server, node).await;
        let daemon = scene.boot(SlotName::A).await;
        (Self { scene }, daemon)
    }

    /// What a check comes to that is answered with `body`, and `faults`; and the code that is
    /// reported.
    async fn told(&mut self, faults: &str, body: impl Into<Vec<u8>>) -> (NoUpdate, u32) {
        self.scene.server.serve("answer", body);
        let url = self.scene.server.url(&format!("{faults}/answer"));
        self.scene
            .node
            .write(CONFIG, format!("SERVER={url}\n").as_bytes());
        self.scene.attempt(IDLE).await;
        let overview = self
            .scene
            .overview(|overview| overview.last_failure.0.is_some())
            .await;
        (
            overview.no_update.0.unwrap(),
            overview.last_failure.0.unwrap().code,
        )
    }
}

fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDINGS).join(name)).unwrap()
}

/// The body of a whole message.
fn body(message: &[u8]) -> Vec<u8> {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    message[end + 4..].to_owned()
}

/// As a server that packs what it sends does it.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, bytes).unwrap();
    let packed = Command::new("gzip")
        .arg("-c")
        .stdin(std::fs::File::open(file).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(packed.status.success());
    packed.stdout
}

/// Recorded answers, and what has to be said of each: the meaning, the remedy.
const REFUSALS: [(&str, &str, &str); 14] = [
    (
        "as-many-as-may-in-a-period.xml",
        "it isn't this node's turn yet",
        "nothing has to be done",
    ),
    (
        "as-many-as-may-at-once.xml",
        "as many nodes of its group are updating",
        "which nodes don't finish",
    ),
    (
        "safe-mode-timed-out.xml",
        "safe mode has stopped the roll-out",
        "switch the group's updates on again",
    ),
    (
        "updates-switched-off.xml",
        "are switched off",
        "switch the group's updates on at the server",
    ),
    (
        "office-hours-at-the-weekend.xml",
        "outside of the group's office hours",
        "wait for the office hours",
    ),
    (
        "update-in-progress.xml",
        "installing an update already",
        "the same /etc/machine-id",
    ),
    (
        "alias-of-257-letters.xml",
        "it can't register this node",
        "MACHINE_ALIAS of at most 256",
    ),
    (
        "version-of-two-numbers.xml",
        "it can't register this node",
        "FLATCAR_RELEASE_VERSION",
    ),
    (
        "machine-id-empty.xml",
        "it can't register this node",
        "/etc/machine-id of 1 to 50 letters",
    ),
    ("unknown-group.xml", "no such group", "check GROUP"),
    (
        "unknown-application.xml",
        "it has no such application",
        "FLATCAR_RELEASE_APPID",
    ),
    (
        "board-arm64.xml",
        "for this node's architecture",
        "FLATCAR_RELEASE_BOARD",
    ),
    (
        "group-without-channel.xml",
        "the group has no channel",
        "against the server's page",
    ),
    (
        "channel-without-package.xml",
        "the channel of its group has no package",
        "give the channel one",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_nebraska_says_what_the_operator_does_about_it() {
    let (mut asking, _daemon) = Asking::new().await;
    for (answer, meaning, remedy) in REFUSALS {
        let (why, code) = asking.told("", recorded(answer)).await;
        assert_eq!((why.kind, code), (Obstacle::Refused, 34), "{answer}");
        let said = why.reason;
        assert!(
            said.starts_with("the server refuses: ") && said.contains("(it says error-"),
            "{said}"
        );
        assert!(
            said.contains(meaning) && said.contains(remedy),
            "{answer}: {said}"
        );
    }
    let (page, _) = client(&asking.scene.bus, "why").await;
    assert!(
        page.contains("give the channel one") && !page.contains("GROUP"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_the_place_of_an_answer_is_called_one_and_names_the_server_and_not_the_group() {
    const LOGIN: &str = "<!DOCTYPE html><html><head><title>Hotel\u{202e} Seeblick</title></head><body><form>\
                         <input type=\"password\" name=\"room\"></form></body></html>";
    const XHTML: &str = "<?xml version=\"1.0\"?><html><head><title>Nebraska</title></head><body/></html>";
    let (mut asking, _daemon) = Asking::new().await;
    let nebraska = body(&recorded("wrong-path.http"));
    let page = "<html><body>Welcome<br></body></html>";
    for (faults, answer, said) in [
        ("html-type", nebraska, "a web page came instead of an answer"),
        ("", page.into(), "a web page came instead of an answer"),
        (
            "html-type",
            XHTML.into(),
            "a web page (\"Nebraska\") came instead of an answer",
        ),
        (
            "",
            LOGIN.into(),
            "a login page (\"Hotel\\u{202e} Seeblick\") came instead of an answer",
        ),
        ("redirect=away", page.into(), "a login page at http://localhost:"),
        ("status=511", page.into(), "status 511: the network wants a login"),
        (
            "status=407",
            page.into(),
            "status 407: the proxy wants a user name",
        ),
        ("status=401", page.into(), "status 401: it wants a user name"),
        (
            "status=404",
            page.into(),
            "status 404: nobody answers checks there; SERVER must be",
        ),
    ] {
        let (why, code) = asking.told(faults, answer).await;
        assert!(why.reason.contains(said), "{faults}: {}", why.reason);
        if !faults.starts_with("status") {
            assert_eq!(code, 31, "{}", why.reason);
            assert!(why.reason.contains("SERVER"), "{}", why.reason);
            let (page, _) = client(&asking.scene.bus, "why").await;
            assert!(page.contains("SERVER") && !page.contains("GROUP"), "{page}");
        }
    }
    let (why, _) = asking.told("", recorded("no-application-was-asked.xml")).await;
    assert!(
        why.reason.contains("SERVER may be no update server"),
        "{}",
        why.reason
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_an_encoding_is_said_to_be_in_it() {
    let (mut asking, _daemon) = Asking::new().await;
    let answer = recorded("updates-switched-off.xml");
    for (encoding, bytes) in [
        ("gzip", gzip(&answer)),
        ("br", b"\x8b\x03\x80answer\x03".to_vec()),
        ("deflate", b"\x78\x9c\x03\x00\xff".to_vec()),
        ("zstd", b"\x28\xb5\x2f\xfd\x00".to_vec()),
    ] {
        let (why, code) = asking.told(&format!("encoding={encoding}"), bytes.clone()).await;
        let said =
            format!("the server's answer came in Content-Encoding \"{encoding}\", which was not asked for");
        assert!(why.reason.starts_with(&said), "{}", why.reason);
        assert_eq!(code, 31);
    }
    // Whoever only says so is believed the bytes.
    let (why, _) = asking.told("encoding=gzip", answer).await;
    assert_eq!(why.kind, Obstacle::Refused, "{}", why.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_can_not_be_written_is_told_to_the_server_from_the_first_check_on() {
    const STATE: &str = "/var/lib/update_engine";
    let file = |path: &Path| std::fs::write(path, "a file").unwrap();
    // To whoever looks for a value, it isn't there.
    let nowhere = |path: &Path| std::os::unix::fs::symlink("/nowhere", path).unwrap();
    let prefs = format!("{STATE}/prefs");
    for (place, is_nowhere) in [(STATE, false), (&prefs, false), (&prefs, true)] {
        let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
        // Nobody can make a directory there, root included.
        std::fs::create_dir_all(scene.node.path(place).parent().unwrap()).unwrap();
        if is_nowhere {
            nowhere(&scene.node.path(place));
        } else {
            file(&scene.node.path(place));
        }
        let daemon = scene.boot(SlotName::A).await;
        scene.attempt(IDLE).await;
        assert_eq!(
            scene.events(),
            [(3, 0, Some(PRIVATE + 1))],
            "{place}: {}",
            daemon.log()
        );
        let asked = scene.server.journal().exchanges();
        assert!(
            !asked.iter().any(Exchange::is_check),
            "an offer could not be taken"
        );
        let overview = scene.overview(|overview| overview.last_failure.0.is_some()).await;
        let failure = overview.last_failure.0.unwrap();
        assert!(
            format!("{failure:?}").contains("update_engine/prefs"),
            "{failure:?}"
        );

        std::fs::remove_file(scene.node.path(place)).unwrap();
        scene.attempt(NEED_REBOOT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_id_that_is_none_is_warned_of() {
    const ID: &str = "3d1219c7c4c5404aaa1f6d2a48adfda4";
    let scene = Scene::quiet().await;
    let mut scene = scene;
    let daemon = scene.boot(SlotName::A).await;
    let root = scene.node.path("/").to_str().unwrap().to_owned();
    let says = async |scene: &Scene, arguments: &[&str]| {
        let client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
        let mut client = tokio::process::Command::from(client);
        String::from_utf8(client.args(arguments).output().await.unwrap().stdout).unwrap()
    };
    for (id, said) in [
        (Some("uninitialized\n"), "/etc/machine-id says \"uninitialized\""),
        (Some(""), "/etc/machine-id is empty"),
        (None, "/etc/machine-id isn't there"),
        (
            Some("3d1219c7c4c5404aaa1f6d2a48adfda\n"),
            "/etc/machine-id has \"3d1219c7c4c5404aaa1f6d2a48adfda\"",
        ),
        (
            Some("3d1219c7-c4c5-404a-aa1f-6d2a48adfda4\n"),
            "-404a-aa1f-6d2a48adfda4\", which isn't 32 hexadecimal digits",
        ),
        (
            Some("00000000000000000000000000000000\n"),
            "000000\", which isn't 32 hexadecimal digits other than zeros",
        ),
    ] {
        let path = scene.node.path("/etc/machine-id");
        match id {
            Some(id) => std::fs::write(path, id).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        scene.attempt(IDLE).await;
        scene.attempt(IDLE).await;
        let told = |text: &str| text.matches(said).count();
        assert_eq!(told(&daemon.log()), 1, "{said}: {}", daemon.log());
        scene
            .overview(|overview| {
                let warnings = overview.config_warnings.as_ref().unwrap();
                warnings.len() == 1 && warnings[0].contains(said)
            })
            .await;
        assert_eq!(told(&says(&scene, &["why"]).await), 1, "{said}");
        assert_eq!(
            told(&says(&scene, &["config", "--root", &root]).await),
            1,
            "{said}"
        );
        assert!(scene.server.journal().exchanges().iter().any(Exchange::is_check));
    }
    for id in [ID.to_owned(), ID.to_uppercase()] {
        scene.node.write("/etc/machine-id", id.as_bytes());
        scene.attempt(IDLE).await;
        scene
            .overview(|overview| overview.config_warnings == Some(Vec::new()))
            .await;
    }
}

/// The attempt at the full fixture, offered as it is and sent as `sent` with `faults`, is refused.
async fn payload_is_refused(faults: &str, sent: Vec<u8>, code: i64, says: &str) {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let http = Server::start();
    let server = BadServer::on(http, payload, faults, |_| ());
    server.replace_payload(sent);
    let node = Node::new(&server.url());
    untouched(code, says)
        .is_seen(&mut Scene::with(server, node).await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_in_an_encoding_or_a_page_in_its_place_is_called_that() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let packed = gzip(&payload);
    let said = "came in Content-Encoding \"gzip\", which was not asked for";
    payload_is_refused("encoding=gzip", packed.clone(), 11, said).await;
    payload_is_refused("encoding=gzip,chunked", packed.clone(), 21, said).await;
    // Nobody says it.
    payload_is_refused("chunked", packed, 21, "as what gzip packed does").await;
    let missing = body(&recorded("missing-file.http"));
    payload_is_refused("html-type", missing, 11, "gave a web page instead of the file").await;
    let page = b"<html>Please log in</html>".repeat(100);
    payload_is_refused("chunked", page, 21, "as a web page or a login page does").await;
}
