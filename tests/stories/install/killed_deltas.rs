//! Kill -9 during the download of a delta: its operations read blocks that others overwrite, so
//! that not every place is one to go on from. Large full payloads are killed in
//! [`super::endurance`].

use std::time::{Duration, Instant};

use payload_format::Operation;
use update_engine::bus::StatusFields;
use update_engine::disk::SlotName;
use update_engine::payload::PayloadFile;

use super::refusals::{FALLBACK, UNBOOTABLE};
use crate::support::bad_server::BadServer;
use crate::support::node::{Node, sha256};
use crate::support::scene::{NEED_REBOOT, Scene};
use test_support::fixtures;
use test_support::server::Recorded;

const KILLS: usize = 20;

/// After how many kills the daemon is given the time for a checkpoint before the next.
const PATIENT: usize = 4;

/// A checkpoint is due two seconds after the last one.
const DEADLINE: Duration = Duration::from_secs(30);

/// Offsets in the delta, ascending: within the header, within the manifest, then in and after
/// operations' data.
fn points() -> Vec<u64> {
    let metadata = PayloadFile::open(&fixtures::payload("delta.payload"));
    let metadata = metadata.unwrap().metadata().unwrap();
    let (mut at, mut within) = (metadata.size, Vec::new());
    for len in metadata.manifest.operations().iter().map(Operation::data_len) {
        if len > 0 {
            within.extend([at + len / 2, at + len]);
        }
        at += len;
    }
    let rest = KILLS - 2;
    let spread = (0..rest).map(|nth| within[nth * (within.len() - 1) / (rest - 1)]);
    [10, metadata.size / 2].into_iter().chain(spread).collect()
}

fn checkpoint(node: &Node) -> Option<Vec<u8>> {
    std::fs::read(node.state().join("checkpoint")).ok()
}

/// Waits for a checkpoint other than `before`.
pub(crate) fn wait_for_checkpoint(node: &Node, before: Option<&Vec<u8>>) {
    let begin = Instant::now();
    while checkpoint(node).is_none_or(|now| Some(&now) == before) {
        assert!(begin.elapsed() < DEADLINE, "no checkpoint is made");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the daemon has signalled all but the last percent of the bytes up to `point`;
/// `first` are the attempt's first signals.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
async fn reach(scene: &mut Scene<BadServer>, mut first: Vec<StatusFields>, point: u64) {
    let mut last = first.pop().unwrap();
    while (last.1 + 0.01) * (last.4 as f64) < point as f64 - 1.0 {
        last = scene.signal().await;
    }
}

/// First byte that a request asked for.
fn start(request: &Recorded) -> u64 {
    let range = request.header("range").map(|range| &range["bytes=".len()..]);
    range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_twenty_points_of_a_delta_goes_on_where_it_was() {
    let points = points();
    let mut faults: Vec<String> = points.iter().map(|point| format!("hold={point}")).collect();
    // The last request gets all of it.
    faults.push(String::new());
    let payload = std::fs::read(fixtures::payload("delta.payload")).unwrap();
    let server = BadServer::offering(payload, &faults.join(";"), |offer| offer.is_delta = true);
    let node = Node::new(&server.url());
    let mut scene = Scene::with(server, node).await;
    let running = sha256(&scene.node.disk.slot(SlotName::A));

    // Whether each attempt had a checkpoint to go on from.
    let mut resumable = Vec::new();
    for (nth, point) in points.iter().enumerate() {
        let before = checkpoint(&scene.node);
        resumable.push(before.is_some());
        let daemon = scene.boot(SlotName::A).await;
        let first = scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
        reach(&mut scene, first, *point).await;
        if nth % PATIENT == PATIENT - 1 {
            wait_for_checkpoint(&scene.node, before.as_ref());
        }
        daemon.kill();
        assert_eq!(scene.node.disk.attributes(SlotName::A), (2, 0, 1));
        let other = scene.node.disk.attributes(SlotName::B);
        // A fallback only until the delta's source was checked; whole until then.
        let whole = scene.node.disk.slot(SlotName::B).iter().all(|&byte| byte == 0xb0);
        assert!(other == UNBOOTABLE || (other == FALLBACK && whole), "{other:?}");
    }
    resumable.push(checkpoint(&scene.node).is_some());
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    let disk = &scene.node.disk;
    assert_eq!(
        sha256(&disk.slot(SlotName::B)),
        sha256(&fixtures::image("new.img"))
    );
    assert_eq!(sha256(&disk.slot(SlotName::A)), running);
    assert_eq!(disk.attributes(SlotName::B), (2, 1, 0));
    disk.assert_table_is_whole();

    let starts: Vec<u64> = scene.server.downloads().iter().map(start).collect();
    let resumed: Vec<bool> = starts.iter().map(|start| *start > 0).collect();
    assert_eq!(resumed, resumable, "{starts:?}");
    assert_eq!(
        starts[..2],
        [0, 0],
        "without the manifest there is nothing to go on with"
    );
    assert!(starts.is_sorted(), "{starts:?}");
    // Several operations share a place, those without data.
    let mut places = starts.clone();
    places.dedup();
    assert!(places.len() > 3, "{starts:?}");
}
