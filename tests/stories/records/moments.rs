//! An update's life, by the real daemon and client, and what is on the machine at each moment of
//! it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use payload_format::PartitionName;
use update_engine::disk::{PartitionPair, SlotName};
use update_engine::plan::{ExtraPartition, InstallPlan};
use update_engine::serve::Catalog;
use update_engine::status::AttemptState;

use super::{ATTEMPTS, HISTORY, METRICS, files};
use crate::client::history::{attempts, ended_as};
use crate::support::health::{CHECK, REBOOT, become_healthy, require_a_file};
use crate::support::installing::plan;
use crate::support::node::Node;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

/// Where the daemon keeps what outlives it.
const KEPT: [&str; 3] = ["/var/lib/update_engine", "/run/update_engine", "/var/run"];

/// What is on the machine at one moment.
pub(super) struct Moment {
    pub(super) name: &'static str,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Moment {
    fn of(name: &'static str, node: &Node) -> Self {
        let mut kept = BTreeMap::new();
        for directory in KEPT.iter().filter(|directory| node.path(directory).exists()) {
            let found = files(&node.path(directory)).into_iter();
            kept.extend(found.map(|(path, bytes)| (format!("{directory}{path}"), bytes)));
        }
        kept.retain(|path, _| Path::new(path).extension().is_none_or(|end| end != "raw"));
        Self { name, files: kept }
    }

    /// No more of it than how updates ended.
    fn brief(name: &'static str, node: &Node) -> Self {
        let mut moment = Self::of(name, node);
        moment
            .files
            .retain(|path, _| [HISTORY, ATTEMPTS].contains(&path.as_str()));
        moment
    }

    /// All of it, and what the client prints and monitoring reads.
    async fn told(name: &'static str, scene: &Scene) -> Self {
        let mut moment = Self::of(name, &scene.node);
        moment.files.insert(METRICS.to_owned(), scene.node.read(METRICS));
        // Whether it was written yet is a matter of milliseconds.
        moment.files.remove("/run/update_engine/first-start");
        for command in ["status", "slots", "history"] {
            let mut client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
            client.args([command, "--json"]);
            let output = tokio::process::Command::from(client).output().await.unwrap();
            assert!(output.status.success(), "{name} {command}: {output:?}");
            moment.files.insert(format!("/{command}.json"), output.stdout);
        }
        moment
    }

    pub(super) fn write(&self, directory: &Path) {
        for (path, bytes) in &self.files {
            let path = directory.join(self.name).join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Every moment once.
pub(super) async fn all() -> Vec<Moment> {
    let mut moments = a_life().await;
    moments.push(a_download_that_was_cut().await);
    moments.push(a_partition_that_is_torn().await);
    moments
}

async fn a_life() -> Vec<Moment> {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    let catalog = catalog(&scene.node, "full.payload");
    scene.server.replace(Some(catalog));
    fs::create_dir_all(scene.node.path(METRICS).parent().unwrap()).unwrap();
    scene.configure(&format!("METRICS_FILE={METRICS}\nEXTENSIONS=*\n"));
    let mut moments = Vec::new();

    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    counted(&scene, "update_engine_updates_total 1\n").await;
    moments.push(Moment::told("waiting", &scene).await);
    daemon.stop();

    into_b(&scene);
    let daemon = scene.boot(SlotName::B).await;
    moments.push(Moment::brief("on-trial", &scene.node));
    daemon.stop();
    moments.push(Moment::brief("shut-down-on-trial", &scene.node));
    let daemon = scene.come_back().await;
    moments.push(Moment::brief("interrupted", &scene.node));

    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    into_b(&scene);
    scene.configure("HEALTH_SETTLE=1\nHEALTH_DEADLINE=2\n");
    require_a_file(&scene.node);
    let daemon = scene.boot(SlotName::B).await;
    eventually("the slot is left", || scene.node.path(REBOOT).exists()).await;
    daemon.stop();
    moments.push(Moment::of("given-up", &scene.node));
    let daemon = scene.come_back().await;
    counted(&scene, "update_engine_rollbacks_total 1\n").await;
    moments.push(Moment::told("rolled-back", &scene).await);

    let unsigned = self::catalog(&scene.node, "full-unsigned.payload");
    scene.server.replace(Some(unsigned));
    scene.attempt(IDLE).await;
    counted(&scene, "update_engine_failures_total 1\n").await;
    moments.push(Moment::told("failed", &scene).await);

    daemon.stop();
    moments.extend(the_way_back_by_hand(&mut scene).await);
    // Two of each preference will do.
    let others = moments
        .iter_mut()
        .filter(|moment| !["waiting", "failed"].contains(&moment.name));
    others.for_each(|moment| moment.files.retain(|path, _| !path.contains("/prefs/")));
    moments
}

/// What is good is left by order.
async fn the_way_back_by_hand(scene: &mut Scene) -> Vec<Moment> {
    let good = self::catalog(&scene.node, "full.payload");
    scene.server.replace(Some(good));
    become_healthy(&scene.node);
    // Histories count in seconds: what was rolled back in this one would be told of an attempt that
    // begins in it.
    let second = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let rolled_back = second();
    eventually("the next second comes", || second() > rolled_back).await;
    let mut moments = Vec::new();
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    into_b(scene);
    fs::remove_file(scene.node.path(CHECK)).unwrap();
    let daemon = scene.boot(SlotName::B).await;
    let is_good = || scene.node.disk.attributes(SlotName::B).2 == 1;
    eventually("the slot is kept", is_good).await;
    attempts(scene, ended_as(AttemptState::Kept)).await;
    let mut client = scene.bus.process(env!("CARGO_BIN_EXE_update_engine_client"));
    client.arg("rollback");
    let status = tokio::process::Command::from(client).status().await.unwrap();
    assert!(status.success());
    scene.signals_until(NEED_REBOOT).await;
    moments.push(Moment::told("leaving", scene).await);
    daemon.stop();
    let daemon = scene.come_back().await;
    moments.push(Moment::told("left", scene).await);
    daemon.stop();
    moments
}

/// What the loader and the new image do at a reboot.
fn into_b(scene: &Scene) {
    assert_eq!(scene.node.reboot(), SlotName::B);
    scene.node.run_version("2.0.0");
}

async fn counted(scene: &Scene, line: &str) {
    let is_there = || fs::read_to_string(scene.node.path(METRICS)).is_ok_and(|text| text.contains(line));
    eventually(line, is_there).await;
}

/// `payload` as version 2.0.0, with an extension.
fn catalog(node: &Node, payload: &str) -> Catalog {
    let extension = node.beside("oem-test.gz");
    fs::write(&extension, fixtures::signed(&[7; 5000])).unwrap();
    Catalog::open("2.0.0", &fixtures::payload(payload))
        .unwrap()
        .with_package("oem-test.gz".parse().unwrap(), &extension)
        .unwrap()
}

/// The fixtures' full payload, half of which came.
pub(super) const CUT: &str = "cut=1000000";

async fn a_download_that_was_cut() -> Moment {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fs::read(fixtures::payload("full.payload")).unwrap();
    server.serve("p", payload.clone());
    let url = server.url(&format!("{CUT}/p"));
    node.download(plan(url, &payload)).await.err().unwrap();
    Moment::of("cut", &node)
}

/// A plan that knows where the partition `oem` goes.
pub(super) fn with_a_partition(plan: InstallPlan) -> InstallPlan {
    let target = ExtraPartition {
        name: PartitionName::new("oem").unwrap(),
        pair: PartitionPair::parse("/dev/disk/by-partlabel/OEM-%s").unwrap(),
    };
    InstallPlan {
        extra_partitions: vec![target],
        ..plan
    }
}

/// A node that has both partitions; nobody knows what is in the one of slot B.
pub(super) fn with_partitions() -> Node {
    let node = Node::with_two_good_slots();
    node.write("/dev/disk/by-partlabel/OEM-A", &vec![0xaa; 3 << 20]);
    node.write("/dev/disk/by-partlabel/OEM-B", &vec![0xbb; 3 << 20]);
    node
}

async fn a_partition_that_is_torn() -> Moment {
    let (node, server) = (with_partitions(), Server::start());
    let payload = crate::install::extra_partitions::payload(&vec![7; 1 << 20]);
    server.serve("p", payload.clone());
    let url = server.url(&format!("{CUT}/p"));
    let plan = with_a_partition(plan(url, &payload));
    node.download(plan).await.err().unwrap();
    let mut moment = Moment::of("torn", &node);
    // What is resumed is another moment's.
    moment.files.retain(|path, _| path == super::TORN);
    moment
}
