//! Extra partitions: brought by payloads of version 2, written where configuration has a pair for
//! them.

use std::cell::RefCell;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use payload_format::writer::{FullPayload, RsaSigner};
use payload_format::{MajorVersion, PartitionName};
use tokio_util::sync::CancellationToken;
use update_engine::disk::{PartitionPair, SlotName};
use update_engine::install::{InstallError, PostinstMode};
use update_engine::plan::{ExtraPartition, InstallPlan};

use super::v1::{Fate, fate, fixture};
use crate::support::bad_server::BadServer;
use crate::support::installing::{download, plan};
use crate::support::loops::{Loop, may_mount};
use crate::support::node::{CONFIG, Node};
use crate::support::scene::{NEED_REBOOT, Scene, eventually};
use test_support::fixtures;
use test_support::server::Server;

pub(super) const PAIR: &str = "/dev/disk/by-partlabel/OEM-%s";
pub(super) const OEM_A: &str = "/dev/disk/by-partlabel/OEM-A";
pub(super) const OEM_B: &str = "/dev/disk/by-partlabel/OEM-B";
const ROOM: usize = 3 << 20;
/// Bytes after the last partition's data, at most.
const SIGNATURES: usize = 1000;

/// Bytes that compress badly, none of them zero.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0] | 1
    });
    next.take(len).collect()
}

/// The fixtures' update, and `oem` for the partition of that name.
pub(crate) fn payload(oem: &[u8]) -> Vec<u8> {
    let key = String::from_utf8(fixture("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (image, kernel) = (fixtures::image("new.img"), fixture("vmlinuz-new"));
    let (mut image, mut kernel, mut oem, mut out) = (image.as_slice(), kernel.as_slice(), oem, Vec::new());
    FullPayload::new(&mut image)
        .with_kernel(&mut kernel)
        .with_partition(PartitionName::new("oem").unwrap(), &mut oem)
        .with_version(MajorVersion::V2)
        .with_compressions(&[])
        .with_signer(&signer)
        .write(&mut Cursor::new(Vec::new()), &mut out, &mut |_| {})
        .unwrap();
    out
}

/// With both partitions of the pair.
fn node() -> Node {
    let node = Node::with_two_good_slots();
    node.write(OEM_A, &vec![0xaa; ROOM]);
    node.write(OEM_B, &vec![0xbb; ROOM]);
    node
}

/// A plan that knows where `oem` goes.
fn targeted(url: String, payload: &[u8]) -> InstallPlan {
    let target = ExtraPartition {
        name: PartitionName::new("oem").unwrap(),
        pair: PartitionPair::parse(PAIR).unwrap(),
    };
    InstallPlan {
        extra_partitions: vec![target],
        ..plan(url, payload)
    }
}

/// The refusal of this payload, which must leave everything as it was.
async fn refusal(node: &Node, payload: Vec<u8>, target: fn(String, &[u8]) -> InstallPlan) -> InstallError {
    let server = Server::start();
    server.serve("p", payload.clone());
    let error = node.install(target(server.url("p"), &payload)).await.unwrap_err();
    assert_eq!(fate(node), Fate::Untouched);
    error
}

fn text(error: &InstallError) -> String {
    update_engine::journal::chain(error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_made_by_the_tool_updates_slot_and_partition_of_the_slot_that_boots_next() {
    let node = Node::new("http://nobody.invalid/");
    let files = [
        ("usr.img", fixtures::image("new.img")),
        ("oem.img", noise(1_500_001)),
    ];
    for (name, bytes) in &files {
        fs::write(node.beside(name), bytes).unwrap();
    }
    let out = node.beside("made.payload");
    let path = |name: &str| node.beside(name).display().to_string();
    let key = fixtures::payload("test-key.pem");
    let (image, partition) = (path("usr.img"), format!("--partition=oem={}", path("oem.img")));
    let from = [
        "--new-image",
        &image,
        &partition,
        "--private-key",
        key.to_str().unwrap(),
    ];
    tool(
        &[
            &["generate", "--format", "v2", "--out", out.to_str().unwrap()],
            &from[..],
        ]
        .concat(),
    );

    let server = BadServer::offering(fs::read(out).unwrap(), "", |_| {});
    let config = format!("SERVER={}\nPARTITION_oem={PAIR}\n", server.url());
    node.write(CONFIG, config.as_bytes());
    node.write(OEM_A, &vec![0xaa; ROOM]);
    node.write(OEM_B, &vec![0xbb; ROOM]);
    let mut scene = Scene::with(server, node).await;
    let daemon = scene.boot(SlotName::A).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    let node = &scene.node;
    let (written, rest) = (node.read(OEM_B), 1_500_001_usize.next_multiple_of(4096));
    assert!(written[..1_500_001] == files[1].1);
    assert!(
        written[rest..].iter().all(|byte| *byte == 0xbb),
        "behind the image nothing was touched"
    );
    assert!(
        node.read(OEM_A) == vec![0xaa; ROOM],
        "the running one is as it was"
    );
    assert!(node.disk.slot(SlotName::B)[..16 << 20] == files[0].1);
}

/// Runs the tool, which must succeed.
fn tool(arguments: &[&str]) {
    let ran = Command::new(env!("CARGO_BIN_EXE_update_payload"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_made_by_the_tool_builds_the_partition_from_that_of_the_running_slot_and_from_no_other() {
    let (node, old) = (node(), noise(2_000_000));
    let mut new = old.clone();
    new[1_000_000..1_000_100].fill(0x11);
    new.extend_from_slice(b"and more");
    let [from, to] = ["old.img", "new.img"].map(fixtures::image);
    for (name, bytes) in [("usr-1", &from), ("usr-2", &to), ("oem-1", &old), ("oem-2", &new)] {
        fs::write(node.beside(name), bytes).unwrap();
    }
    let path = |name: &str| node.beside(name).display().to_string();
    let key = fixtures::payload("test-key.pem");
    let (old_oem, new_oem) = (format!("oem={}", path("oem-1")), format!("oem={}", path("oem-2")));
    let pair = ["--old-image", &path("usr-1"), "--new-image", &path("usr-2")];
    let partitions = ["--old-partition", &old_oem, "--partition", &new_oem];
    let rest = ["--private-key", key.to_str().unwrap(), "--out", &path("delta")];
    tool(&[&["generate", "--format", "v2"], &pair[..], &partitions, &rest].concat());

    let built = format!("oem={}", path("built"));
    let images = [
        "--target",
        &path("usr"),
        "--source",
        &path("usr-1"),
        "--partition",
        &built,
    ];
    let source = ["--source-partition", &old_oem, "--allow-unsigned"];
    tool(&[&["apply", &path("delta")], &images[..], &source].concat());
    assert!(fs::read(path("built")).unwrap().starts_with(&new));

    let delta = fs::read(path("delta")).unwrap();
    let error = refusal(&node, delta.clone(), targeted).await;
    assert!(
        matches!(error, InstallError::WrongSourcePartition { .. }),
        "{error:?}"
    );
    node.write(OEM_A, &[&old[..], &vec![0xaa; ROOM - old.len()]].concat());
    let server = Server::start();
    server.serve("p", delta.clone());
    node.install(targeted(server.url("p"), &delta)).await.unwrap();
    assert!(node.read(OEM_B).starts_with(&new));
    assert!(delta.len() < 300_000, "{} bytes", delta.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_target_is_refused_by_its_name() {
    let error = refusal(&node(), payload(&noise(100)), plan).await;
    assert!(text(&error).ends_with("unknown partition \"oem\"; known are usr or root, kernel, pcr_policy, and those that have a target here"), "{}", text(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_not_there_for_both_slots_is_refused_with_the_reason() {
    let node = node();
    fs::remove_file(node.path(OEM_A)).unwrap();
    let error = refusal(&node, payload(&noise(100)), targeted).await;
    assert!(
        text(&error).contains("the target of partition oem can't be used: cannot open"),
        "{}",
        text(&error)
    );
    symlink("OEM-B", node.path(OEM_A)).unwrap();
    let error = refusal(&node, payload(&noise(100)), targeted).await;
    assert!(
        text(&error).ends_with("are the same: there must be one for each slot"),
        "{}",
        text(&error)
    );
    assert!(node.read(OEM_B) == vec![0xbb; ROOM]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_brings_nothing_for_a_broken_target_is_installed() {
    let (node, server) = (Node::with_two_good_slots(), Server::start());
    let payload = fixture("full.payload");
    server.serve("p", payload.clone());
    node.install(targeted(server.url("p"), &payload)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_larger_than_its_target_is_refused_before_anything_is_touched() {
    let node = node();
    let error = refusal(&node, payload(&noise(ROOM + 1)), targeted).await;
    assert!(text(&error).contains("partition oem"), "{}", text(&error));
    assert!(node.read(OEM_B) == vec![0xbb; ROOM]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_within_the_partition_goes_on_there() {
    let (node, server, oem) = (node(), Server::start(), noise(3_000_000));
    let payload = payload(&oem);
    server.serve("p", payload.clone());
    // It comes last. What had come but was not worked on, a megabyte or two, comes again.
    let cut = payload.len() - 10_000;
    let url = server.url(&format!("cut={cut};/p"));
    let error = node.install(targeted(url.clone(), &payload)).await.unwrap_err();
    assert!(matches!(error, InstallError::Fetch(_)), "{error:?}");
    node.install(targeted(url, &payload)).await.unwrap();
    assert!(node.read(OEM_B)[..oem.len()] == oem);
    let requests = server.requests();
    let range = requests[1].header("range").unwrap().trim_end_matches('-');
    let start: usize = range["bytes=".len()..].parse().unwrap();
    assert!(
        start >= payload.len() - oem.len() - SIGNATURES,
        "{start} of {}",
        payload.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_reads_back_differently_never_boots() {
    let (node, server, oem) = (node(), Server::start(), noise(100_000));
    let payload = payload(&oem);
    server.serve("p", payload.clone());
    let plan = targeted(server.url("p"), &payload);
    let downloaded = download(plan, node.site(PostinstMode::Skip)).await.unwrap();
    let mut bytes = node.read(OEM_B);
    bytes[50_000] ^= 1;
    node.write(OEM_B, &bytes);
    let Err(error) = downloaded.verify(&CancellationToken::new()).await else {
        panic!("it was taken")
    };
    assert!(
        matches!(error, InstallError::FileVerification { .. }),
        "{error:?}"
    );
    assert_eq!(fate(&node), Fate::Unbootable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_device_is_written_unless_somebody_uses_it() {
    if !may_mount() {
        return;
    }
    let (node, server, oem) = (Node::with_two_good_slots(), Server::start(), noise(1_000_000));
    let images = ["oem-a.img", "oem-b.img"].map(|name| {
        fs::write(node.beside(name), vec![0xee; ROOM]).unwrap();
        node.beside(name)
    });
    let devices = [Loop::writable(&images[0]), Loop::writable(&images[1])];
    fs::create_dir_all(node.path(OEM_A).parent().unwrap()).unwrap();
    let link = |device: &Loop, path: &Path| symlink(device.device(), path).unwrap();
    link(&devices[0], &node.path(OEM_A));
    link(&devices[1], &node.path(OEM_B));
    let payload = payload(&oem);

    server.serve("p", payload.clone());
    node.install(targeted(server.url("p"), &payload)).await.unwrap();

    // As a mount would have it. What the installation had open, a child that another test forks at
    // that moment keeps until it becomes another program; so it would what is opened here and
    // closed before the installation.
    let take = || {
        nix::fcntl::open(
            devices[1].device(),
            nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_EXCL | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )
    };
    let held = RefCell::new(None);
    let is_taken = || {
        *held.borrow_mut() = take().ok();
        held.borrow().is_some()
    };
    eventually("nobody else uses it", is_taken).await;
    let again = node.install(targeted(server.url("p"), &payload)).await;
    let error = again.unwrap_err();
    assert!(text(&error).contains("busy"), "{}", text(&error));
    drop(held);
    drop(devices);
    assert!(fs::read(&images[1]).unwrap()[..oem.len()] == oem);
    assert!(fs::read(&images[0]).unwrap() == vec![0xee; ROOM]);
}
