//! Images of every kind: made of blocks, by `mke2fs`, by `mkfs.btrfs`, and by the kernel's btrfs.

use payload_format::ContentEncoder;
use payload_format::writer::ContentOptions;
use proptest::prelude::*;
use proptest::sample::Index;

use super::file_systems::{Tree, btrfs, erofs, ext4, kernel_btrfs, squashfs, text, tree};
use super::predecessors::check_predecessor;
use super::{Built, build, check, generate, read, small_chunks};
use crate::noise::noise;

/// A piece of an image.
#[derive(Debug, Clone)]
enum Piece {
    Zeros(usize),
    Noise(u64, usize),
    Text(u64, usize),
}

impl Piece {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Zeros(len) => vec![0; *len],
            Self::Noise(seed, len) => noise(*seed, *len),
            Self::Text(seed, len) => text(*seed, *len),
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        (1_usize..20_000).prop_map(Piece::Zeros),
        (0_u64..6, 1_usize..20_000).prop_map(|(seed, len)| Piece::Noise(seed, len)),
        (0_u64..6, 1_usize..60_000).prop_map(|(seed, len)| Piece::Text(seed, len)),
    ];
    prop::collection::vec(piece, 1..12)
}

fn image(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(Piece::bytes).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_image_comes_of_any_other(old in pieces(), new in pieces()) {
        check(&image(&old), &image(&new));
    }

    #[test]
    fn an_edited_image_takes_little(
        pieces in pieces(),
        at in any::<Index>(),
        removed in 0_usize..3000,
        inserted in 0_usize..3000,
    ) {
        let old = image(&pieces);
        let at = at.index(old.len());
        let end = old.len().min(at + removed);
        let new = [&old[..at], &noise(77, inserted + 1), &old[end..]].concat();
        let built = check(&old, &new);
        // Zeros are found by blocks, which an insertion shifts: runs of content begin elsewhere.
        let runs = pieces.iter().filter(|piece| matches!(piece, Piece::Zeros(_))).count();
        // What was inserted, in chunks of at least 256 bytes, and some until cuts agree again.
        let fresh = inserted / 256 + 10 + 4 * runs;
        prop_assert!(built.from_old + fresh >= built.chunks, "{} of {}", built.from_old, built.chunks);
    }
}

/// What happens to a file from one version to the next.
#[derive(Debug, Clone)]
enum Edit {
    Remove(Index),
    Rename(Index),
    Insert(Index, Index, usize),
    /// As of a program that is built again: other numbers here and there in so many bytes.
    Rebuild(Index, Index, usize),
    Add(u64, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Rename),
        (any::<Index>(), any::<Index>(), 1_usize..5000)
            .prop_map(|(file, at, len)| Edit::Insert(file, at, len)),
        (any::<Index>(), any::<Index>(), 1_usize..20_000)
            .prop_map(|(file, at, len)| Edit::Rebuild(file, at, len)),
        (100_u64..200, 1_usize..90_000).prop_map(|(seed, len)| Edit::Add(seed, len)),
    ];
    prop::collection::vec(edit, 0..6)
}

/// Where attempts are interrupted, in hundredths of the chunks.
fn cuts() -> impl Strategy<Value = [usize; 3]> {
    prop::array::uniform3(0_usize..100)
}

fn edited(mut tree: Tree, edits: &[Edit]) -> Tree {
    for edit in edits {
        let name = |file: &Index| tree.keys().nth(file.index(tree.len())).unwrap().clone();
        match edit {
            Edit::Remove(file) => drop(tree.remove(&name(file))),
            Edit::Rename(file) => {
                let name = name(file);
                let content = tree.remove(&name).unwrap();
                tree.insert(format!("{name}-renamed"), content);
            }
            Edit::Insert(file, at, len) => {
                let name = name(file);
                let content = tree.get_mut(&name).unwrap();
                let at = at.index(content.len() + 1);
                content.splice(at..at, noise(*len as u64, *len));
            }
            Edit::Rebuild(file, at, len) => {
                let content = tree.get_mut(&name(file)).unwrap();
                let rest = at.index(content.len() + 1);
                for byte in content[rest..].iter_mut().take(*len).step_by(97) {
                    *byte = byte.wrapping_add(1);
                }
            }
            Edit::Add(seed, len) => drop(tree.insert(format!("added-{seed}"), text(*seed, *len))),
        }
    }
    tree
}

/// Bytes that no version before had.
fn added(edits: &[Edit]) -> usize {
    let of_edit = |edit: &Edit| match edit {
        Edit::Remove(_) | Edit::Rename(_) => 0,
        Edit::Insert(_, _, len) | Edit::Rebuild(_, _, len) | Edit::Add(_, len) => *len,
    };
    edits.iter().map(of_edit).sum()
}

/// Fails unless four fifths of the chunks are the old image's, what was added left aside.
fn check_most_is_old(built: &Built, edits: &[Edit]) -> Result<(), TestCaseError> {
    // A chunk has some 700 bytes on average.
    let fresh = added(edits) / 512;
    prop_assert!(
        (built.from_old + fresh) * 10 > built.chunks * 8,
        "{} of {}",
        built.from_old,
        built.chunks
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn the_next_ext4_image_comes_of_the_one_before(edits in edits(), cuts in cuts()) {
        let (old, new) = (ext4(&tree()), ext4(&edited(tree(), &edits)));
        let built = check(&old, &new);
        check_most_is_old(&built, &edits)?;
        check_predecessor(&old, &new, cuts);
    }

    #[test]
    fn the_next_btrfs_image_comes_of_the_one_before(edits in edits(), cuts in cuts()) {
        let (old, new) = (btrfs(&tree()), btrfs(&edited(tree(), &edits)));
        let built = check(&old, &new);
        check_most_is_old(&built, &edits)?;
        check_predecessor(&old, &new, cuts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn a_squashfs_and_an_erofs_image_come_of_the_one_before_and_of_each_other(
        edits in edits(),
        cuts in cuts(),
    ) {
        let (old, new) = (tree(), edited(tree(), &edits));
        let (squashfs_new, erofs_new) = (squashfs(&new), erofs(&new));
        check(&squashfs(&old), &squashfs_new);
        check(&erofs(&old), &erofs_new);
        check_predecessor(&squashfs(&old), &squashfs_new, cuts);
        check_predecessor(&erofs(&old), &erofs_new, cuts);
        check(&ext4(&old), &erofs_new);
    }

    /// Of the kernel's image one byte in ten is fetched for an edit at most; as blocks, most.
    #[test]
    fn the_next_btrfs_image_of_the_kernel_comes_of_the_one_before(edits in edits(), cuts in cuts()) {
        let images = kernel_btrfs(&tree()).zip(kernel_btrfs(&edited(tree(), &edits)));
        let Some((old, new)) = images else { return Ok(()) };
        let built = check(&old, &new);
        check_most_is_old(&built, &edits)?;
        check_predecessor(&old, &new, cuts);
        let encoded = read(&generate(&new, &small_chunks()));
        let is_encoded = |segment: &payload_format::Segment| segment.encoder.is_some();
        prop_assert!(encoded.manifest.content().unwrap().segments().iter().any(is_encoded));
        // Of an image that another program made.
        check(&ext4(&tree()), &new);
    }
}

/// The control of the properties above: patches are taken there.
#[test]
fn a_program_that_was_built_again_takes_patches_in_images_of_every_kind() {
    let name = "lib/library";
    let mut new = tree();
    let bytes = new.get_mut(name).unwrap();
    bytes
        .iter_mut()
        .step_by(97)
        .for_each(|byte| *byte = byte.wrapping_add(1));
    let (old, cuts) = (tree(), [40, 90, 20]);
    let of_kernel = kernel_btrfs(&old).zip(kernel_btrfs(&new));
    let images = [(ext4(&old), ext4(&new)), (btrfs(&old), btrfs(&new))];
    for (old, new) in images.into_iter().chain(of_kernel) {
        let built = check_predecessor(&old, &new, cuts);
        assert!(built.patched > 200, "{}", built.patched);
    }
}

/// An image of `tests/fixtures/content`.
fn fixture(name: &str) -> Vec<u8> {
    crate::fixture::image(&format!("../content/{name}"))
}

#[test]
fn what_the_kernel_compressed_is_made_again_bit_for_bit() {
    let (old, new) = (fixture("btrfs-old.img"), fixture("btrfs-new.img"));
    let built = check(&old, &new);
    let read = read(&generate(&new, &small_chunks()));
    let tables = read.manifest.content().unwrap();
    assert_eq!(
        tables.encoders(),
        [ContentEncoder::new("btrfs-zstd-1.5.7", 3).unwrap()]
    );
    let encoded = tables
        .segments()
        .iter()
        .filter(|segment| segment.encoder.is_some())
        .count();
    assert!(encoded >= 10, "{encoded} segments are encoded");
    // The insertion, the new file and the file system's own blocks.
    assert!(
        built.fetched * 4 < read.data.len(),
        "{} of {}",
        built.fetched,
        read.data.len()
    );
}

/// The control: as blocks, whose compressed extents have nothing in common, far more is fetched.
#[test]
fn without_the_encoder_an_edit_costs_what_follows_it() {
    let (old, new) = (fixture("btrfs-old.img"), fixture("btrfs-new.img"));
    let with = check(&old, &new);
    let without = |image: &[u8]| {
        let mut image = image.to_vec();
        // No file system is found there any more.
        image[(64 << 10) + 0x40..][..8].fill(b'x');
        image
    };
    let without = check(&without(&old), &without(&new));
    assert!(
        without.fetched > 2 * with.fetched,
        "{} and {}",
        with.fetched,
        without.fetched
    );
}

#[test]
fn the_same_image_gives_the_same_payload() {
    let image = fixture("btrfs-new.img");
    let options = ContentOptions::default();
    assert!(generate(&image, &options) == generate(&image, &options));
    let read = read(&generate(&image, &options));
    assert!(build(&read, None).unwrap().image == image);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// An old image may be anything: it costs bytes, never the result, and never more than a walk
    /// over it.
    #[test]
    fn a_damaged_old_image_is_good_for_what_is_left(
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..400),
        in_metadata in any::<bool>(),
    ) {
        use std::sync::LazyLock;
        static NEW: LazyLock<super::Read> =
            LazyLock::new(|| read(&generate(&fixture("btrfs-new.img"), &small_chunks())));
        static OLD: LazyLock<(Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
            let old = fixture("btrfs-old.img");
            // Bytes of the superblock, and of blocks that begin as nodes of a tree do: with a
            // checksum, and the file system's id.
            let id = old[(64 << 10) + 0x20..][..16].to_vec();
            let nodes = old.chunks_exact(4096).enumerate().filter(|(_, block)| block[0x20..0x30] == id[..]);
            let places = nodes.flat_map(|(number, _)| number * 4096..number * 4096 + 4096).collect();
            (old, places)
        });
        let (old, places) = &*OLD;
        let mut old = old.clone();
        for (at, byte) in damage {
            let at = if in_metadata { places[at.index(places.len())] } else { at.index(old.len()) };
            old[at] ^= byte;
        }
        let built = build(&NEW, Some(&old)).unwrap();
        let whole = NEW.manifest.partition().new.sha256;
        prop_assert_eq!(payload_format::Sha256Digest::of(&built.image), whole);
    }
}
