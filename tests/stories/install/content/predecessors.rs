//! Patches from predecessors: a node that runs one fetches less, and any other what it lacks.

use super::*;

/// The payload of the new image, and a content payload with patches from these.
fn payloads(predecessors: &[Vec<u8>]) -> Payloads {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("new.img"), as_blocks("btrfs-new.img")).unwrap();
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
