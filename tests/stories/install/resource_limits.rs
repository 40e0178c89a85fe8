//! Resource limits of an installation: priority of its threads, pauses under pressure, bandwidth.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use update_engine::disk::SlotName;
use update_engine::fetch::{FetchRequest, FetchSettings, Fetcher};
use update_engine::host::{Percent, PressureLimits};
use update_engine::install::{Pace, PostinstMode, Site};

use crate::support::bad_server::BadServer;
use crate::support::installing::{download, plan};
use crate::support::node::{CONFIG, Daemon, Node};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

/// Nicer than whoever runs the tests.
const QUIET: i32 = 19;

/// Nice value, policy and I/O class of every thread of the daemon, as others see them.
fn threads(daemon: &Daemon) -> Vec<(i32, i32, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap();
    let claims = |task: std::io::Result<std::fs::DirEntry>| {
        let id = task.unwrap().file_name().into_string().unwrap();
        // One may end while we look.
        let stat = std::fs::read_to_string(format!("/proc/{}/task/{id}/stat", daemon.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let class = fixtures::filter("ionice", ["-p".as_ref(), id.as_ref()], b"");
        let class = String::from_utf8(class).unwrap().trim_end().to_owned();
        Some((fields[16].parse().unwrap(), fields[38].parse().unwrap(), class))
    };
    tasks.filter_map(claims).collect()
}

/// A daemon in the middle of a download that an operator asked for.
async fn downloading(config: &str) -> (Scene<BadServer>, Daemon) {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let server = BadServer::offering(payload, "hold=1000000;", |_| {});
    let node = Node::new(&server.url());
    let mut text = node.read(CONFIG);
    text.extend_from_slice(config.as_bytes());
    node.write(CONFIG, &text);
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt("UPDATE_STATUS_DOWNLOADING").await;
    // Once the checkpoint is there, everybody is at work.
    let checkpoint = scene.node.state().join("checkpoint");
    eventually("a checkpoint", || checkpoint.exists()).await;
    (scene, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_threads_of_a_quiet_installation_claim_little_and_the_daemon_itself_what_it_always_does() {
    for (word, policy, class) in [("low", 3, "best-effort: prio 7"), ("idle", 5, "idle")] {
        let (_scene, daemon) = downloading(&format!("INSTALL_PRIORITY_ON_DEMAND={word}\n")).await;
        let modest = (QUIET, policy, class.to_owned());
        let count = || {
            threads(&daemon)
                .iter()
                .filter(|claims| **claims == modest)
                .count()
        };
        // A thread says what it claims when it first runs.
        eventually("the coordinator, and at least two that work", || count() >= 3).await;
        let (quiet, others): (Vec<_>, Vec<_>) = threads(&daemon)
            .into_iter()
            .partition(|(nice, ..)| *nice == QUIET);
        for thread in quiet {
            assert_eq!(thread, modest);
        }
        assert!(!others.is_empty());
        for (_, policy, other) in others {
            assert!(policy == 0 && other != class, "{policy} {other}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_an_operator_asked_for_claims_what_everybody_does() {
    let (_scene, daemon) = downloading("INSTALL_PRIORITY=idle\n").await;
    assert!(
        threads(&daemon)
            .iter()
            .all(|(nice, policy, _)| *nice != QUIET && *policy == 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_update_is_as_complete_as_any_other() {
    let mut scene = Scene::offering(&fixtures::payload("full.payload")).await;
    scene.configure("INSTALL_PRIORITY_ON_DEMAND=idle\nDOWNLOAD_LIMIT=100000000\nINSTALL_PRESSURE_IO=100\n");
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();
    assert!(scene.node.disk.slot(SlotName::B)[..16 << 20] == fixtures::image("new.img"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_pauses_while_the_node_is_under_pressure() {
    let payload = std::fs::read(fixtures::payload("full.payload")).unwrap();
    let (server, node) = (Server::start(), Node::with_two_good_slots());
    server.serve("update.gz", payload.clone());
    let pressure = |share: &str| {
        let text = format!("some avg10={share} avg60=0.00 avg300=0.00 total=0\n");
        node.write("/proc/pressure/memory", text.as_bytes());
    };
    pressure("61.00");
    let site = node.site(PostinstMode::Skip);
    let site = Site {
        pace: Pace {
            pressure: PressureLimits {
                memory: Percent::new(60),
                ..PressureLimits::default()
            },
            ..site.pace
        },
        ..site
    };
    let done = Arc::new(AtomicBool::new(false));
    let (plan, began) = (plan(server.url("update.gz"), &payload), Instant::now());
    let running = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let downloaded = download(plan, site).await;
            done.store(true, Ordering::SeqCst);
            downloaded.map(drop)
        }
    });
    // From here on one operation, of a megabyte each, may start every five seconds.
    let checkpoint = node.state().join("checkpoint");
    eventually("a first checkpoint", || checkpoint.exists()).await;
    let slot = node.disk.slot(SlotName::B);
    let written = slot
        .chunks(1 << 20)
        .filter(|chunk| chunk.iter().any(|byte| *byte != 0xb0));
    assert!(written.count() as u64 <= began.elapsed().as_secs() / 5);
    assert!(!done.load(Ordering::SeqCst));
    pressure("59.99");
    running.await.unwrap().unwrap();
    let pauses = Duration::from_secs(5 * 17);
    assert!(began.elapsed() < pauses, "every one of 17 operations waited");
    assert!(node.disk.slot(SlotName::B)[..16 << 20] == fixtures::image("new.img"));
}

#[tokio::test]
async fn a_download_keeps_to_its_limit_and_is_not_taken_for_one_that_stalls() {
    const SIZE: usize = 600_000;
    let server = Server::start();
    server.serve("update.gz", vec![7; SIZE]);
    let settings = FetchSettings {
        rate: NonZeroU64::new(300_000),
        // Waiting for the limit takes longer than a stall may.
        stall_window: Duration::from_millis(500),
        stall_bytes: 1,
        resumes: 0,
        ..FetchSettings::default()
    };
    let request = FetchRequest {
        url: server.url("update.gz"),
        fallbacks: Vec::new(),
        start: 0,
        entity: None,
        size: SIZE as u64,
        credentials: None,
    };
    let (began, mut received) = (Instant::now(), 0);
    let mut stream = Fetcher::new(settings).open(request).await.unwrap();
    let mut last = 0;
    while let Some(bytes) = stream.next().await {
        last = bytes.unwrap().len();
        received += last;
    }
    assert_eq!(received, SIZE);
    // The last piece has come before it is paid for.
    let lowest = (SIZE - last) as u64 * 1000 / 300_000;
    let took = began.elapsed().as_millis();
    assert!(
        took >= u128::from(lowest),
        "{took} ms for {SIZE} bytes, the last {last} at once"
    );
    assert_eq!(server.requests().len(), 1);
}
