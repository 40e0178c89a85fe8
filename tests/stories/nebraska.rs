//! A node and a Nebraska that minds its states, refuses by policy, and takes no event it doesn't know.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use update_engine::bus::{Preview, Prospect};
use update_engine::disk::SlotName;

use crate::support::fixtures;
use crate::support::nebraska::State::{Complete, Downloaded, Downloading, Granted, Undefined};
use crate::support::nebraska::{Group, Nebraska, State};
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use crate::support::server::Server;

/// Packages beside the state machine: Nebraska's own are files elsewhere, too.
struct Site {
    scene: Scene<Nebraska>,
    packages: Server,
}

/// As Nebraska writes it: the payload first, its hash in base64, further files with theirs in hexadecimal digits.
fn offer(codebase: &str, payload: &Path, manifest: &str) -> String {
    let payload = std::fs::read(payload).unwrap();
    let (size, sha256) = (payload.len(), BASE64.encode(digest(&SHA256, &payload)));
    format!(
        r#"<urls><url codebase="{codebase}"></url></urls><manifest {manifest}><packages>
<package name="p.gz" hash="Yt3h6SgRkunsKswhVqveNNefe5g=" size="{size}" required="true"></package>
<package name="oem-azure.gz" hash="Yt3h6SgRkunsKswhVqveNNefe5g=" hash_sha256="76c7a65b22e93e5e91e3e7b51b30a68fe07065311605f1edb3185a8ac42d7b31" size="2514292" required="false"></package>
</packages><actions><action event="postinstall" sha256="{sha256}" DisablePayloadBackoff="true"></action></actions></manifest>"#
    )
}

impl Site {
    async fn new(faults: &str, manifest: &str) -> Self {
        let packages = Server::start();
        let payload = fixtures::payload("full.payload");
        packages.serve("p.gz", std::fs::read(&payload).unwrap());
        let nebraska = Nebraska::start(Group {
            version: "2.0.0".to_owned(),
            offer: offer(&packages.url(faults), &payload, manifest),
            ..Group::default()
        });
        let node = Node::new(&nebraska.url());
        let scene = Scene::with(nebraska, node).await;
        Self { scene, packages }
    }

    fn states(&self) -> Vec<State> {
        self.scene.server.group(|group| group.states.clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_leads_the_instance_through_its_states_to_complete() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert_eq!(site.scene.node.reboot(), SlotName::B);
    site.scene.node.run_version("2.0.0");
    let _daemon = site.scene.boot(SlotName::B).await;
    site.scene.attempt(IDLE).await;
    assert_eq!(
        site.states(),
        [Undefined, Granted, Downloading, Downloaded, Complete]
    );
    site.scene.server.group(|group| {
        assert_eq!(group.events, [(13, 1), (14, 1), (3, 1), (3, 2)]);
        assert_eq!(group.unknown, []);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_a_check_without_a_word_and_the_update_after_it_is_as_any() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let _daemon = site.scene.boot(SlotName::A).await;
    let client = site.scene.bus.connect().await;
    for refusal in [None, Some("error-updatesDisabled"), None] {
        site.scene.server.group(|group| group.refusal = refusal);
        let preview = Preview::ask(&client).await.unwrap();
        match refusal {
            None => assert_eq!(preview.prospect, Prospect::Install, "{preview:?}"),
            Some(refusal) => {
                assert_eq!(preview.prospect, Prospect::PutOff, "{preview:?}");
                assert!(preview.summary.contains(refusal), "{preview:?}");
            }
        }
    }
    assert_eq!(
        site.states(),
        [Granted],
        "nothing but the grant that any check brings"
    );
    assert_eq!(site.scene.server.group(|group| group.events.len()), 0);
    site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(
        site.states(),
        [Granted, Undefined, Granted, Downloading, Downloaded]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_policy_is_named_and_the_next_check_is_as_good_as_ever() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    for refusal in [
        "error-updatesDisabled",
        "error-maxUpdatesPerPeriodLimitReached",
        "error-maxConcurrentUpdatesLimitReached",
        "error-maxTimedOutUpdatesLimitReached",
        "error-noPackageFound",
    ] {
        site.scene.server.group(|group| group.refusal = Some(refusal));
        site.scene.attempt(IDLE).await;
        assert!(daemon.log().contains(refusal), "{}", daemon.log());
    }
    assert!(site.packages.requests().is_empty());
    site.scene.server.group(|group| group.refusal = None);
    site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(site.scene.server.group(|group| group.unknown.len()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_amid_a_download_is_no_update_in_progress_for_ever() {
    let mut site = Site::new("gate=65536/", r#"version="2.0.0""#).await;
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt("UPDATE_STATUS_UPDATE_AVAILABLE").await;
    eventually("the server hears of the download", || {
        site.states().last() == Some(&State::Downloading)
    })
    .await;
    daemon.kill();
    site.packages.release(u64::MAX / 2);
    let _daemon = site.scene.boot(SlotName::A).await;
    // Its check says that it begins anew: without that Nebraska would refuse.
    site.scene.attempt(NEED_REBOOT).await;
    let expected = [
        Undefined,
        Granted,
        Downloading,
        Undefined,
        Granted,
        Downloading,
        Downloaded,
    ];
    assert_eq!(site.states(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_makes_the_instance_one_in_error_and_a_floor_is_taken_like_any_offer() {
    let mut site = Site::new(
        "",
        r#"version="1.5.0" is_floor="true" floor_reason="a new table""#,
    )
    .await;
    site.scene.node.trust("other-key.pub.pem");
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(IDLE).await;
    assert_eq!(site.states().last(), Some(&State::Error), "{}", daemon.log());
    site.scene.node.trust("test-key.pub.pem");
    let signals = site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(signals.last().unwrap().3, "1.5.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_with_every_kind_of_quote_is_understood() {
    let mut site = Site::new("", r#"version="2.0.0""#).await;
    let config = format!("SERVER={}\nMACHINE_ALIAS=a\"b'c<d>&e\n", site.scene.server.url());
    site.scene.node.write(CONFIG, config.as_bytes());
    let _daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(NEED_REBOOT).await;
}
