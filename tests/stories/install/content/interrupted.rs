//! A content payload whose installation is interrupted: what the other slot has by then is not
//! fetched again.

use std::fs;
use std::sync::{Arc, Mutex};

use payload_format::{ContentTables, Event, Limits, MajorVersion, Reader};
use test_support::random::Random;
use test_support::server::Server;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::install::{InstallError, Installer, PostinstMode};
use update_engine::payload::{GenerateOptions, generate};
use update_engine::plan::ContentUse;

use super::{Payloads, both, kernel_contents, node, options, outcome};
use crate::install::v1::{Fate, fate};
use crate::support::node::{KERNEL_B, Node};
use crate::support::scene::eventually;

const BLOCK: u64 = 4096;

/// Bytes of content that may wait for more of their batch, or of their segment.
const BATCH: u64 = 1 << 20;

/// Bytes of the image that the running slot has: else the package would be worth nothing.
const RUNNING: usize = 2 << 20;

/// The record of a package that is being written.
const RECORD: &str = "/var/lib/update_engine/install/content";

/// Where the chunks of a package lie, and what they become.
pub(super) struct Layout {
    /// The first packed chunk's place.
    first_chunk: u64,
    tables: Arc<ContentTables>,
}

impl Layout {
    pub(super) fn of(package: &[u8]) -> Self {
        let limits = Limits {
            content_payloads: true,
            ..Limits::for_slot(1 << 30)
        };
        let event = Reader::new(limits).read(&mut &package[..]).unwrap();
        let Some(Event::Metadata { manifest, bytes, .. }) = event else {
            panic!("{event:?}")
        };
        let tables = Arc::clone(manifest.content().unwrap());
        Self {
            first_chunk: bytes.len() as u64 + manifest.data_len() - tables.data_len(),
            tables,
        }
    }

    /// Where the patches lie.
    pub(super) fn patches(&self) -> std::ops::Range<u64> {
        let packed = self.tables.chunks().iter();
        let packed: u64 = packed.map(|chunk| u64::from(chunk.packed_len)).sum();
        self.first_chunk + packed..self.first_chunk + self.tables.data_len()
    }

    /// The place in the package by which so many hundredths of all chunks have come.
    fn place(&self, hundredths: u64) -> u64 {
        self.first_chunk + self.tables.data_len() * hundredths / 100
    }

    /// Whether `slot` holds all segments of `image` whose content lies before that place, but for
    /// the last bytes that may be `waiting`.
    fn is_written(&self, (slot, image): (&[u8], &[u8]), place: u64, waiting: u64) -> bool {
        let mut end = self.first_chunk;
        let before = self.tables.chunks().iter().take_while(|chunk| {
            end += u64::from(chunk.packed_len);
            end <= place
        });
        let content: u64 = before.map(|chunk| u64::from(chunk.len)).sum();
        let content = content.saturating_sub(waiting);
        let mut end = 0;
        let mut whole = self.tables.segments().iter().take_while(|segment| {
            end += u64::from(segment.len);
            end <= content
        });
        let byte = |block: u64| usize::try_from(block * BLOCK).unwrap();
        whole.all(|segment| {
            let bytes = byte(segment.blocks.start())..byte(segment.blocks.end());
            slot[bytes.clone()] == image[bytes]
        })
    }
}

/// The record of attempts that ended with the daemon.
const TRIES: &str = "/var/lib/update_engine/install/content-tries";

/// A node whose running slot has little of the image, its package, and its server.
struct Interrupted {
    node: Node,
    server: Server,
    payloads: Payloads,
    layout: Layout,
    image: Vec<u8>,
    /// The record of tries amid the last attempt.
    tries: Mutex<Vec<u8>>,
}

impl Interrupted {
    fn new() -> Self {
        let (node, server, directory) = (node("disabled"), Server::start(), tempfile::tempdir().unwrap());
        let path = |name: &str| directory.path().join(name);
        let image = Random::new(7).bytes(20 << 20);
        node.disk.write(SlotName::A, 0, &image[..RUNNING]);
        fs::write(path("new.img"), &image).unwrap();
        fs::write(path("kernel"), kernel_contents()).unwrap();
        let full = options((&path("new.img"), &path("kernel")), MajorVersion::V2);
        let content = GenerateOptions {
            content: true,
            ..full.clone()
        };
        for (options, name) in [(full, "full"), (content, "content")] {
            generate(&options, &path(name)).unwrap();
        }
        let payloads = Payloads {
            full: path("full"),
            content: path("content"),
            _directory: directory,
        };
        server.serve("update.content", payloads.content());
        let layout = Layout::of(&payloads.content());
        Self {
            node,
            server,
            payloads,
            layout,
            image,
            tries: Mutex::default(),
        }
    }

    /// An attempt that is interrupted once all has come that lies before so many hundredths of the
    /// package, where `earlier` bytes had come before; nothing comes from there on.
    async fn attempt(&self, hundredths: u64, earlier: u64) -> ContentUse {
        let place = self.layout.place(hundredths);
        let faults = format!("hold={place}");
        let plan = both(&self.server, &self.payloads, (&faults, ""));
        let cancel = CancellationToken::new();
        let ready = Installer::new(plan, self.node.site(PostinstMode::Skip));
        let ready = ready.prepare().await.unwrap();
        let log = ready.content();
        let mut tell = |_| {};
        let mut download = Box::pin(ready.download(&mut tell, &cancel));
        let written = eventually("all has come", || {
            let slot = self.node.disk.slot(SlotName::B);
            let has_come = log.get().is_some_and(|content| {
                let come = RUNNING as u64 + earlier + content.fetched;
                content.expected.is_some() && come >= place - self.layout.first_chunk
            });
            let is_begun = has_come && self.node.path(RECORD).exists();
            // What waits for more of its batch is written in the end.
            is_begun && self.layout.is_written((&slot, &self.image), place, BATCH)
        });
        tokio::select! {
            _ = &mut download => panic!("it ended while its bytes were held back"),
            () = written => {}
        }
        *self.tries.lock().unwrap() = fs::read(self.node.path(TRIES)).unwrap();
        cancel.cancel();
        let error = download.await.err().unwrap();
        assert!(matches!(error, InstallError::Cancelled), "{error:?}");
        assert_eq!(fate(&self.node), Fate::Unbootable);
        log.get().unwrap()
    }

    /// The last attempt, to which nothing happens.
    async fn complete(&self) -> ContentUse {
        let plan = both(&self.server, &self.payloads, ("", ""));
        let (installed, content) = outcome(&self.node, plan).await;
        installed.unwrap();
        assert_eq!(content.failure, None);
        assert!(self.node.disk.slot(SlotName::B)[..self.image.len()] == self.image);
        assert!(self.node.read(KERNEL_B) == kernel_contents());
        assert_eq!(self.node.disk.attributes(SlotName::B), (2, 1, 0));
        assert!(!self.node.path(RECORD).exists());
        assert!(!self.node.path(TRIES).exists());
        content
    }

    fn forget(&self) {
        fs::remove_file(self.node.path(RECORD)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_slot_has_by_then_is_not_fetched_again() {
    for hundredths in [0, 35, 80] {
        let interrupted = Interrupted::new();
        let first = interrupted.attempt(hundredths, 0).await;
        let last = interrupted.complete().await;
        let (fetched, whole) = (first.fetched + last.fetched, first.expected.unwrap());
        assert!(fetched * 10 <= whole * 11, "{hundredths}: {fetched} of {whole}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_interruptions_costs_little() {
    let interrupted = Interrupted::new();
    let (mut fetched, mut whole) = (0, 0);
    let points = [15, 30, 50, 70, 85];
    for hundredths in points {
        let content = interrupted.attempt(hundredths, fetched).await;
        whole = content.expected.unwrap().max(whole);
        fetched += content.fetched;
    }
    fetched += interrupted.complete().await.fetched;
    // Content of which a segment isn't whole, and what hadn't been looked at yet.
    let lost = points.len() as u64 * (2 << 20);
    assert!(fetched <= whole + lost, "{fetched} of {whole}");
}

/// The control: without its record, and where a cut has torn the slot.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_to_be_there_or_torn_is_fetched_again() {
    let interrupted = Interrupted::new();
    let first = interrupted.attempt(80, 0).await;
    interrupted.forget();
    let second = interrupted.attempt(80, 0).await;
    assert!(second.fetched * 10 > first.fetched * 9, "{first:?}, {second:?}");
    // Of each chunk something is lost.
    let slot = interrupted.node.disk.slot(SlotName::B);
    for at in (512..interrupted.image.len()).step_by(4096) {
        interrupted.node.disk.write(SlotName::B, at as u64, &[!slot[at]]);
    }
    let third = interrupted.complete().await;
    // Its metadata is there, at least.
    let whole = first.expected.unwrap();
    assert!(third.fetched * 10 > whole * 8, "{} of {whole}", third.fetched);
}

/// A daemon that dies leaves its record as it is amid the attempt: three times, and the payload is fetched.
/// The control: attempts that are cancelled don't count.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_with_which_the_daemon_dies_again_and_again_gives_way_to_the_payload() {
    let interrupted = Interrupted::new();
    let mut fetched = 0;
    for hundredths in [10, 20, 30, 40] {
        fetched += interrupted.attempt(hundredths, fetched).await.fetched;
        assert!(!interrupted.node.path(TRIES).exists());
    }
    for hundredths in [50, 60, 70] {
        fetched += interrupted.attempt(hundredths, fetched).await.fetched;
        let amid = interrupted.tries.lock().unwrap().clone();
        fs::write(interrupted.node.path(TRIES), amid).unwrap();
    }
    let plan = both(&interrupted.server, &interrupted.payloads, ("", ""));
    let (installed, content) = outcome(&interrupted.node, plan).await;
    installed.unwrap();
    let failure = content.failure.unwrap();
    assert!(failure.contains("gone down in 3 attempts"), "{failure}");
    assert_eq!(content.fetched, 0);
    assert!(interrupted.node.disk.slot(SlotName::B)[..interrupted.image.len()] == interrupted.image);
}

/// Another package in the meantime, which has the name of the one that was interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_was_replaced_is_given_up_and_the_payload_fetched() {
    let interrupted = Interrupted::new();
    interrupted.attempt(50, 0).await;
    let plan = both(&interrupted.server, &interrupted.payloads, ("changed", ""));
    let (installed, content) = outcome(&interrupted.node, plan).await;
    installed.unwrap();
    assert!(content.failure.is_some());
    assert!(interrupted.node.disk.slot(SlotName::B)[..interrupted.image.len()] == interrupted.image);
}
