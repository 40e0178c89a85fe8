//! Whatever the images, and whatever gets in the way: an update ends in the new image, or isn't
//! begun.
//!
//! A few seconds; `PROPTEST_CASES=500` for more.

use std::io::{self, Cursor};
use std::time::Duration;

use payload_format::writer::{DeltaImage, DeltaPayload, FullPayload, RsaSigner, Snapshot};
use payload_format::{Compression, MajorVersion, ReadBlocks};
use proptest::prelude::*;
use proptest::sample::Index;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::install::{InstallError, Installer, Pace, PostinstMode};

use crate::support::installing::plan;
use crate::support::node::{KERNEL_B, Node};
use test_support::fixtures;
use test_support::server::Server;

const SLOT_LEN: u64 = 2 << 20;

/// So many cases, unless the environment says otherwise.
fn cases(few: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(few),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    FullV1,
    FullV2,
    DeltaV2,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::FullV1), Just(Kind::FullV2), Just(Kind::DeltaV2)]
}

/// One difference between the old image and the new one.
#[derive(Debug, Clone)]
enum Edit {
    Overwrite(Index, Vec<u8>),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Move { from: Index, to: Index, len: usize },
    Zero(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let (index, bytes) = (any::<Index>, || prop::collection::vec(any::<u8>(), 1..5000));
    prop_oneof![
        (index(), bytes()).prop_map(|(at, bytes)| Edit::Overwrite(at, bytes)),
        (index(), bytes()).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), 1..9000_usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        (index(), index(), 1..90_000_usize).prop_map(|(from, to, len)| Edit::Move { from, to, len }),
        (index(), 1..20_000_usize).prop_map(|(at, len)| Edit::Zero(at, len)),
    ]
}

fn edited(old: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut image = old.to_vec();
    for edit in edits {
        let place = |index: &Index, len: usize| {
            let at = index.index(image.len());
            at..image.len().min(at + len)
        };
        match edit {
            Edit::Overwrite(index, bytes) => {
                let place = place(index, bytes.len());
                let len = place.len();
                image[place].copy_from_slice(&bytes[..len]);
            }
            Edit::Insert(index, bytes) => {
                let at = index.index(image.len());
                image.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(index, len) => {
                // Something is left.
                let place = place(index, *len);
                image.drain(place.start.max(1)..place.end.max(1));
            }
            Edit::Move { from, to, len } => {
                let (from, to) = (place(from, *len), to.index(image.len()));
                let moved: Vec<u8> = image.drain(from).collect();
                let to = to.min(image.len());
                image.splice(to..to, moved);
            }
            Edit::Zero(index, len) => {
                let place = place(index, *len);
                image[place].fill(0);
            }
        }
    }
    image
}

/// Compressible and not, in turns.
fn image(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let byte = |at: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match at / 10_000 % 3 {
            0 => (state >> 56).to_le_bytes()[0],
            1 => (at / 9 % 251).to_le_bytes()[0],
            _ => 0,
        }
    };
    (0..len).map(byte).collect()
}

struct Image(Vec<u8>);

impl Image {
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::new(self, self.0.len() as u64)
    }
}

impl ReadBlocks for Image {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.0.get(at..at + buf.len());
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn payload(kind: Kind, old: &Image, new: &Image, kernel: Option<&[u8]>) -> Vec<u8> {
    let key = std::fs::read_to_string(fixtures::payload("test-key.pem")).unwrap();
    let signer = RsaSigner::from_pem(&key).unwrap();
    let (mut spool, mut out) = (Cursor::new(Vec::new()), Vec::new());
    let kernel = kernel.map(|kernel| Image(kernel.to_vec()));
    if kind == Kind::DeltaV2 {
        let mut delta = DeltaPayload::new(old.snapshot(), new.snapshot()).with_signer(&signer);
        if let Some(kernel) = &kernel {
            delta = delta.with_kernel(DeltaImage {
                old: None,
                new: kernel.snapshot(),
            });
        }
        delta.write(&mut spool, &mut out, &mut |_| {}).unwrap();
        return out;
    }
    let mut image = new.0.as_slice();
    let mut kernel = kernel.as_ref().map(|kernel| kernel.0.as_slice());
    let mut full = FullPayload::new(&mut image).with_signer(&signer);
    if kind == Kind::FullV2 {
        full = full
            .with_version(MajorVersion::V2)
            .with_compressions(&[Compression::Xz, Compression::Zstd]);
    }
    if let Some(kernel) = &mut kernel {
        full = full.with_kernel(kernel);
    }
    full.write(&mut spool, &mut out, &mut |_| {}).unwrap();
    out
}

/// An attempt that doesn't come to its end.
#[derive(Debug, Clone)]
struct Interruption {
    /// Where in the payload, or in what is left of it.
    at: Index,
    how: How,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The server hangs up.
    Cut,
    /// The daemon is asked to end.
    Cancelled,
}

fn interruption() -> impl Strategy<Value = Interruption> {
    let how = prop_oneof![Just(How::Cut), Just(How::Cancelled)];
    (any::<Index>(), how, pace()).prop_map(|(at, how, pace)| Interruption { at, how, pace })
}

/// From one operation after the other to as many as there are, with a checkpoint after each or
/// hardly any.
fn pace() -> impl Strategy<Value = Pace> {
    (
        1..5_usize,
        1_u64..1 << 20,
        prop_oneof![Just(1_u64), Just(24 << 20)],
    )
        .prop_map(|(workers, bytes, memory)| Pace {
            workers,
            bytes,
            memory,
            interval: Duration::ZERO,
            ..Pace::default()
        })
}

/// One attempt; gives up at byte `limit` of the payload.
async fn attempt(
    node: &Node,
    url: &str,
    payload: &[u8],
    pace: Pace,
    limit: Option<u64>,
) -> Result<(), InstallError> {
    let mut site = node.site(PostinstMode::Skip);
    site.pace = pace;
    let ready = Installer::new(plan(url.to_owned(), payload), site)
        .prepare()
        .await?;
    let cancel = CancellationToken::new();
    let mut heard = |bytes: u64| {
        if limit.is_some_and(|limit| bytes >= limit) {
            cancel.cancel();
        }
    };
    let downloaded = ready.download(&mut heard, &cancel).await?;
    let verified = downloaded.verify(&CancellationToken::new()).await?;
    let tested = verified.postinstall(&CancellationToken::new()).await?;
    tested.commit().await.map(drop)
}

/// All of `interruptions`, then an attempt that has to succeed. Gives how many got in the way.
async fn persist(node: &Node, payload: &[u8], interruptions: &[Interruption], pace: Pace) -> usize {
    let server = Server::start();
    server.serve("p", payload);
    let faults: String = interruptions
        .iter()
        .map(|interruption| match interruption.how {
            How::Cut => format!("cut={};", interruption.at.index(payload.len())),
            How::Cancelled => ";".to_owned(),
        })
        .collect();
    let url = server.url(&format!("{faults}/p"));
    for (nth, interruption) in interruptions.iter().enumerate() {
        let limit = (interruption.how == How::Cancelled).then(|| interruption.at.index(payload.len()) as u64);
        match attempt(node, &url, payload, interruption.pace, limit).await {
            // What was left was shorter than that.
            Ok(()) => return nth,
            Err(InstallError::Fetch(_) | InstallError::Cancelled) => {}
            Err(error) => panic!("{error:?}"),
        }
        let slots = (
            node.slot_attributes(SlotName::A),
            node.slot_attributes(SlotName::B),
        );
        assert!(slots.0.is_good() && (slots.1.is_good() || !slots.1.is_selectable()));
    }
    attempt(node, &url, payload, pace, None).await.unwrap();
    interruptions.len()
}

/// A delta for another image than the one that runs leaves everything as it was.
async fn is_refused(node: &Node, payload: &[u8], at: usize) {
    let server = Server::start();
    server.serve("p", payload);
    let before = (node.disk.slot(SlotName::B), node.slot_attributes(SlotName::B));
    node.damage(SlotName::A, at as u64);
    let refused = attempt(node, &server.url("p"), payload, Pace::default(), None).await;
    node.damage(SlotName::A, at as u64);
    assert!(
        matches!(refused, Err(InstallError::WrongSource { .. })),
        "{refused:?}"
    );
    assert!(before == (node.disk.slot(SlotName::B), node.slot_attributes(SlotName::B)));
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn any_update_of_any_image_is_finished_whatever_interrupts_it(
        (seed, len) in (any::<u64>(), 1..300_000_usize),
        edits in prop::collection::vec(edit(), 0..8),
        kind in kind(),
        kernel in prop::option::of(1..50_000_usize),
        interruptions in prop::collection::vec(interruption(), 0..4),
        pace in pace(),
        wrong in any::<Index>(),
    ) {
        let old = Image(image(seed, len));
        let new = Image(edited(&old.0, &edits));
        let kernel = kernel.map(|len| image(!seed, len));
        let payload = payload(kind, &old, &new, kernel.as_deref());
        let node = Node::with_slots("disabled", SLOT_LEN);
        node.disk.write(SlotName::A, 0, &old.0);
        node.disk.write(SlotName::B, 0, &vec![0xa5; usize::try_from(SLOT_LEN).unwrap()]);
        runtime().block_on(async {
            if kind == Kind::DeltaV2 {
                is_refused(&node, &payload, wrong.index(len)).await;
            }
            persist(&node, &payload, &interruptions, pace).await;
        });
        prop_assert!(node.disk.slot(SlotName::B).starts_with(&new.0));
        let kernel = kernel.unwrap_or_else(|| node.read("/boot/flatcar/vmlinuz-a"));
        prop_assert!(node.read(KERNEL_B) == kernel);
        prop_assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
    }
}

proptest! {
    #![proptest_config(cases(3))]

    /// It works in place: what it overwrites is read by others of its operations.
    #[test]
    fn the_originals_delta_is_finished_whatever_interrupts_it(
        interruptions in prop::collection::vec(interruption(), 1..5),
        pace in pace(),
        wrong in any::<Index>(),
    ) {
        let node = Node::with_two_good_slots();
        let payload = std::fs::read(fixtures::payload("delta.payload")).unwrap();
        let old_len = fixtures::image("old.img").len();
        runtime().block_on(async {
            is_refused(&node, &payload, wrong.index(old_len)).await;
            persist(&node, &payload, &interruptions, pace).await;
        });
        prop_assert!(node.disk.slot(SlotName::B).starts_with(&fixtures::image("new.img")));
        prop_assert_eq!(node.slot_attributes(SlotName::B).tries().get(), 1);
    }
}
