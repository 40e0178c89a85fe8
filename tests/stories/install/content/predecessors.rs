//! Patches from predecessors: a node that runs one fetches less, and any other what it lacks.

use super::interrupted::Layout;
use super::*;
use crate::install::v1::{Fate, fate};
use crate::support::scene::eventually;
use test_support::random::Random;

/// The payload of the new image, and a content payload with patches from these.
fn payloads(predecessors: &[Vec<u8>]) -> Payloads {
    payloads_of(&as_blocks("btrfs-new.img"), predecessors)
}

fn payloads_of(new: &[u8], predecessors: &[Vec<u8>]) -> Payloads {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("new.img"), new).unwrap();
    fs::write(path("kernel"), kernel_contents()).unwrap();
    let old = |(number, image): (usize, &Vec<u8>)| {
        let old = path(&format!("old-{number}.img"));
        fs::write(&old, image).unwrap();
        old
    };
    let predecessors: Vec<PathBuf> = predecessors.iter().enumerate().map(old).collect();
    let make = |name: &str, content: bool| {
        let (new, kernel) = (path("new.img"), path("kernel"));
        let options = GenerateOptions {
            content,
            predecessors: if content { predecessors.clone() } else { Vec::new() },
            ..options((&new, &kernel), MajorVersion::V2)
        };
        generate(&options, &path(name)).unwrap();
        path(name)
    };
    Payloads {
        full: make("update.gz", false),
        content: make("update.content", true),
        _directory: directory,
    }
}

/// What a node fetches that runs this image.
async fn fetched(running: &[u8], payloads: &Payloads) -> u64 {
    let (node, server) = (node("disabled"), Server::start());
    node.disk.write(SlotName::A, 0, running);
    server.serve("update.content", payloads.content());
    let (installed, content) = outcome(&node, both(&server, payloads, ("", ""))).await;
    installed.unwrap();
    assert_eq!(content.failure, None);
    assert!(node.disk.slot(SlotName::B) == as_blocks("btrfs-new.img"));
    assert_eq!(content.expected, Some(content.fetched));
    content.fetched
}

/// The new image as it was before: other numbers here and there in everything.
fn predecessor() -> Vec<u8> {
    let mut old = as_blocks("btrfs-new.img");
    for byte in old.iter_mut().step_by(1001).filter(|byte| **byte != 0) {
        *byte = byte.wrapping_add(1).max(1);
    }
    old
}

#[tokio::test]
async fn a_node_that_runs_a_predecessor_fetches_patches() {
    let old = predecessor();
    let mut other = old.clone();
    let place = other.iter().position(|byte| *byte != 0).unwrap();
    other[place] ^= 1;
    let (plain, with_patches) = (
        payloads(&[]),
        payloads(&[as_blocks("btrfs-old.img"), old.clone()]),
    );
    let unpatched = fetched(&old, &plain).await;
    let patched = fetched(&old, &with_patches).await;
    assert!(patched * 3 < unpatched, "{patched} of {unpatched}");
    // Of another image the tables alone cost more.
    let unknown = fetched(&other, &with_patches).await;
    assert!(unknown >= unpatched, "{unknown} of {unpatched}");
}

/// A patch that is damaged on the way is noticed by the hash of a chunk, and the payload is fetched.
#[tokio::test]
async fn a_damaged_patch_costs_no_more_than_the_package() {
    let old = predecessor();
    let payloads = payloads(std::slice::from_ref(&old));
    let mut content = payloads.content();
    // The last bytes are the signature, and the patches stand before it.
    let at = content.len() - 2000;
    content[at..at + 1000].fill(0x55);
    let (node, server) = (node("disabled"), Server::start());
    node.disk.write(SlotName::A, 0, &old);
    server.serve("update.content", content);
    let (installed, content) = outcome(&node, both(&server, &payloads, ("", ""))).await;
    installed.unwrap();
    assert!(content.failure.is_some());
    assert!(node.disk.slot(SlotName::B) == as_blocks("btrfs-new.img"));
}

/// An attempt that is cancelled once so many hundredths of the patches have come, and nothing behind.
async fn cancelled(node: &Node, payloads: &Payloads, server: &Server, hundredths: u64) -> ContentUse {
    let layout = Layout::of(&payloads.content());
    let patches = layout.patches();
    let place = patches.start + (patches.end - patches.start) * hundredths / 100;
    let plan = both(server, payloads, (&format!("hold={place}"), ""));
    let cancel = CancellationToken::new();
    let ready = Installer::new(plan, node.site(PostinstMode::Skip));
    let ready = ready.prepare().await.unwrap();
    let log = ready.content();
    let mut tell = |_| {};
    let mut download = Box::pin(ready.download(&mut tell, &cancel));
    let has_come = eventually("all has come", || {
        let content = log.get().unwrap_or_default();
        let is_ours = fate(node) == Fate::Unbootable && content.expected.is_some();
        is_ours && content.fetched >= place - patches.start
    });
    tokio::select! {
        _ = &mut download => panic!("it ended while its bytes were held back"),
        () = has_come => {}
    }
    cancel.cancel();
    let error = download.await.err().unwrap();
    assert!(matches!(error, InstallError::Cancelled), "{error:?}");
    log.get().unwrap()
}

/// What patches have made by then is taken from the other slot; of the section that was under way, the
/// patch or the chunks, whichever is less.
#[tokio::test(flavor = "multi_thread")]
async fn patches_that_came_before_an_interruption_are_not_fetched_again() {
    let new = Random::new(7).bytes(6 << 20);
    let mut old = new.clone();
    for byte in old.iter_mut().step_by(1001) {
        *byte = byte.wrapping_add(1);
    }
    let payloads = payloads_of(&new, std::slice::from_ref(&old));
    let whole = {
        let (node, server) = (node("disabled"), Server::start());
        node.disk.write(SlotName::A, 0, &old);
        server.serve("update.content", payloads.content());
        let (installed, content) = outcome(&node, both(&server, &payloads, ("", ""))).await;
        installed.unwrap();
        content.fetched
    };
    assert!(whole * 10 < payloads.full().len() as u64, "{whole}");
    let patches = Layout::of(&payloads.content()).patches();
    for hundredths in [0, 30, 60, 95] {
        let (node, server) = (node("disabled"), Server::start());
        node.disk.write(SlotName::A, 0, &old);
        server.serve("update.content", payloads.content());
        let first = cancelled(&node, &payloads, &server, hundredths).await;
        let (installed, last) = outcome(&node, both(&server, &payloads, ("", ""))).await;
        installed.unwrap();
        assert_eq!(last.failure, None);
        assert!(node.disk.slot(SlotName::B)[..new.len()] == new);
        // One patch of six, and chunks that weren't whole.
        let spare = (patches.end - patches.start) / 4 + (128 << 10);
        let fetched = first.fetched + last.fetched;
        assert!(fetched <= whole + spare, "{hundredths}: {fetched} of {whole}");
    }
}
