//! Grants of a server that lets nodes update a few at a time: which ones a node asks for, and which
//! must time out.

use std::path::Path;

use update_engine::disk::SlotName;
use update_engine::engine::{Checked, Updater as _};
use update_engine::serve::{Ask, OmahaQuestion};
use update_engine::status::{Obstacle, Trigger};

use super::nebraska::{Site, offer};
use crate::support::health::{REBOOT, require_a_file};
use crate::support::nebraska::{Policy, State};
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{IDLE, NEED_REBOOT, eventually};
use crate::trial::blame::scheduled_attempt;
use crate::trial::rollback::{engine, grant_times_out};
use test_support::fixtures;

const HOUR: u64 = 3_600_000;
const FULL: &str = "error-maxConcurrentUpdatesLimitReached";

/// A group of which one node at a time may update, and whose grants time out after an hour.
async fn site(safe_mode: bool) -> Site {
    let site = Site::new("", r#"version="2.0.0""#).await;
    site.scene.server.group(|group| {
        group.policy = Policy {
            safe_mode,
            updates: if safe_mode { 10 } else { 1 },
            period: HOUR / 6,
            timeout: HOUR,
        };
    });
    site
}

impl Site {
    /// What another node is told that much later.
    fn other_node_after(&self, time: u64) -> &'static str {
        self.scene.server.group(|group| {
            group.clock += time;
            group.asked_by("i2")
        })
    }

    fn state(&self) -> State {
        *self.scene.server.group(|group| group.states()).last().unwrap()
    }

    fn last_question(&self) -> OmahaQuestion {
        self.scene
            .server
            .group(|group| group.questions.last().unwrap().clone())
    }

    fn configure(&self, lines: &str) {
        let config = format!("SERVER={}\nHEALTH_SETTLE=1\n{lines}", self.scene.server.url());
        self.scene.node.write(CONFIG, config.as_bytes());
    }

    /// Installs the update, boots it, and comes back at the deadline of its trial.
    async fn roll_back(&mut self) {
        let daemon = self.scene.boot(SlotName::A).await;
        self.scene.attempt(NEED_REBOOT).await;
        daemon.stop();
        assert_eq!(self.scene.node.reboot(), SlotName::B);
        self.scene.node.run_version("2.0.0");
        require_a_file(&self.scene.node);
        self.configure("HEALTH_DEADLINE=3600\n");
        let daemon = self.scene.boot(SlotName::B).await;
        self.scene.attempt(IDLE).await;
        // On trial: alive, installed, and no question.
        let asks = self.last_question().asks;
        assert!(
            matches!(&asks[..], [Ask::Ping, Ask::Event(event)] if (event.kind, event.result) == (3, 1)),
            "{asks:?}"
        );
        assert_eq!(self.state(), State::Downloaded);
        assert_eq!(
            self.other_node_after(HOUR / 4),
            FULL,
            "nobody goes before the trial's end"
        );
        daemon.stop();
        self.configure("HEALTH_DEADLINE=1\n");
        let daemon = self.scene.boot(SlotName::B).await;
        eventually("a reboot", || self.scene.node.path(REBOOT).exists()).await;
        daemon.stop();
        assert_eq!(self.scene.node.reboot(), SlotName::A);
        self.scene.node.run_version("1.0.0");
        self.scene.boot(SlotName::A).await.stop();
    }

    /// A scheduled check, which is declined; the server knows of the rollback then.
    async fn report(&self) {
        let failure = scheduled_attempt(&self.scene.node).await.unwrap_err();
        assert_eq!(failure.obstacle, Obstacle::RolledBack, "{failure:?}");
        let (questions, unknown) = self
            .scene
            .server
            .group(|group| (group.questions.clone(), group.unknown.clone()));
        let check = &questions[questions.len() - 2].asks;
        assert!(
            matches!(&check[..], [Ask::Ping, Ask::UpdateCheck, Ask::Event(event)] if event.code == Some(44)),
            "{check:?}"
        );
        assert_eq!(unknown, [(3, 9)], "declined in the way that is dropped");
        assert_eq!(self.state(), State::Granted);
    }

    /// A scheduled check that must not ask.
    async fn keeps_quiet(&self, with_event: bool) -> Obstacle {
        let checked = engine(&self.scene.node).check(Trigger::Schedule).await;
        let Checked::NotAsked(no_update) = checked else {
            panic!("{checked:?}");
        };
        let asks = self.last_question().asks;
        match &asks[..] {
            [Ask::Ping] if !with_event => {}
            [Ask::Ping, Ask::Event(_)] if with_event => {}
            asks => panic!("{asks:?}"),
        }
        assert!(no_update.until.is_some(), "{no_update:?}");
        no_update.kind
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_a_safe_mode_group_asks_nothing_on_trial_and_its_rollback_stops_the_roll_out() {
    let mut site = site(true).await;
    site.roll_back().await;
    site.report().await;
    assert_eq!(site.other_node_after(HOUR / 4), FULL);
    // Each is another process: what is remembered is on the disk.
    for _ in 0..3 {
        assert_eq!(site.keeps_quiet(false).await, Obstacle::RolledBack);
        assert_eq!(site.state(), State::Granted);
    }
    assert_eq!(site.other_node_after(HOUR / 2), FULL);
    assert_eq!(
        site.other_node_after(HOUR / 2),
        "error-maxTimedOutUpdatesLimitReached"
    );
    assert_eq!(site.other_node_after(100 * HOUR), "error-updatesDisabled");
}

/// The control run of the story above.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_went_on_asking_would_hold_the_others_for_ever() {
    let mut site = site(true).await;
    site.roll_back().await;
    site.report().await;
    for _ in 0..4 {
        assert_eq!(site.other_node_after(HOUR * 3 / 4), FULL);
        grant_times_out(&site.scene.node);
        let failure = scheduled_attempt(&site.scene.node).await.unwrap_err();
        assert_eq!(failure.obstacle, Obstacle::RolledBack, "{failure:?}");
    }
    assert_eq!(site.other_node_after(HOUR * 3 / 4), FULL);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_safe_mode_the_others_go_on_after_the_time_out() {
    let mut site = site(false).await;
    site.roll_back().await;
    site.report().await;
    assert_eq!(site.other_node_after(HOUR / 4), FULL);
    site.keeps_quiet(false).await;
    assert_eq!(site.other_node_after(HOUR / 2), FULL);
    site.keeps_quiet(false).await;
    assert_eq!(site.other_node_after(HOUR / 2), "ok");
}

/// The server offers another image, as 2.0.1.
fn offer_another(site: &Site) {
    let payload = fixtures::signed(&fixtures::image("old.img"));
    let path = site.scene.node.beside("another.payload");
    std::fs::write(&path, &payload).unwrap();
    site.packages.serve("p.gz", payload);
    let offer = offer(&site.packages.url(""), Path::new(&path), r#"version="2.0.1""#);
    site.scene.server.group(|group| {
        "2.0.1".clone_into(&mut group.version);
        group.offer = offer;
        group.clock += HOUR;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_payload_is_taken_once_the_blaming_node_asks_again() {
    let mut site = site(false).await;
    site.roll_back().await;
    site.report().await;
    offer_another(&site);
    site.keeps_quiet(false).await;
    grant_times_out(&site.scene.node);
    scheduled_attempt(&site.scene.node).await.unwrap();
    assert_eq!(site.state(), State::Granted);
    let history =
        String::from_utf8_lossy(&site.scene.node.read("/var/lib/update_engine/history")).into_owned();
    assert!(!history.contains("hold_off"), "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_check_asks_at_once_and_takes_what_it_is_offered() {
    let mut site = site(false).await;
    site.roll_back().await;
    site.report().await;
    offer_another(&site);
    let _daemon = site.scene.boot(SlotName::A).await;
    let signals = site.scene.attempt(NEED_REBOOT).await;
    assert_eq!(signals.last().unwrap().3, "2.0.1");
}

/// The server's offer asks nodes to wait after failures.
fn with_backoff(node: &Node, site: &Site) {
    site.scene.server.group(|group| {
        group.offer = group.offer.replace(r#" DisablePayloadBackoff="true""#, "");
    });
    node.trust("other-key.pub.pem");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_back_off_is_alive_and_asks_nothing_unless_an_operator_does() {
    let mut site = site(false).await;
    with_backoff(&site.scene.node, &site);
    scheduled_attempt(&site.scene.node).await.unwrap_err();
    assert_eq!(site.state(), State::Error);
    assert_eq!(site.keeps_quiet(true).await, Obstacle::Backoff);
    assert_eq!(site.state(), State::Error);
    site.scene.server.group(|group| group.clock += HOUR);
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(IDLE).await;
    assert!(daemon.log().contains("it is put off until"), "{}", daemon.log());
    daemon.stop();
    assert_eq!(site.keeps_quiet(true).await, Obstacle::Backoff);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_on_trial_that_can_not_write_its_state_reports_no_failure_that_lets_the_others_go_on() {
    let mut site = site(true).await;
    let daemon = site.scene.boot(SlotName::A).await;
    site.scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert_eq!(site.scene.node.reboot(), SlotName::B);
    site.scene.node.run_version("2.0.0");
    require_a_file(&site.scene.node);
    site.configure("HEALTH_DEADLINE=3600\n");
    // Nobody can write there, root included.
    let prefs = site.scene.node.path("/var/lib/update_engine/prefs");
    std::fs::remove_dir_all(&prefs).unwrap();
    std::fs::write(&prefs, "a file").unwrap();
    let daemon = site.scene.boot(SlotName::B).await;
    site.scene.attempt(IDLE).await;
    let questions = site.scene.server.group(|group| group.questions.clone());
    let mut asks = questions.iter().flat_map(|question| &question.asks);
    let is_failure = |ask: &Ask| matches!(ask, Ask::Event(event) if (event.kind, event.result) == (3, 0));
    assert!(!asks.any(is_failure), "{questions:?}");
    assert_eq!(site.other_node_after(HOUR / 4), FULL, "{}", daemon.log());
    daemon.stop();
}
