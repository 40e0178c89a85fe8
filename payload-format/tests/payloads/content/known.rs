//! An old image of which the tables are known that it was made by: it gives what looking through it
//! gives, or it is noticed that they are of another image.

use std::sync::Arc;

use payload_format::{ChunkerParams, ContentTables, OldContent};
use proptest::prelude::*;
use proptest::sample::Index;

use super::images::{btrfs, noise, tree};
use super::{ContentOptions, build_from, find, generate, generate_from, read, small_chunks};
use crate::memory::Memory;

fn by_tables(old: &[u8], made_by: &ContentTables, tables: &Arc<ContentTables>) -> Option<OldContent> {
    let len = old.len() as u64;
    OldContent::by_tables(Memory::new(old.to_vec()), len, made_by, Arc::clone(tables)).unwrap()
}

fn tables_of(image: &[u8]) -> Arc<ContentTables> {
    let read = read(&generate(image, &small_chunks()));
    Arc::clone(read.manifest.content().unwrap())
}

/// Builds `new` from `old` both ways, which must find the same.
fn check(old: &[u8], new: &[u8]) -> usize {
    let read = read(&generate_from(&[old], new, &small_chunks()));
    let tables = read.manifest.content().unwrap();
    let built = |old: Option<OldContent>| {
        let target = Memory::garbage((new.len() as u64).next_multiple_of(4096));
        let built = build_from(&read, old, &target, usize::MAX).unwrap();
        assert!(built.image == new);
        (built.from_old, built.patched, built.fetched)
    };
    let looked_through = built(Some(find(old, tables)));
    let known = by_tables(old, &tables_of(old), tables).unwrap();
    assert_eq!(built(Some(known)), looked_through);
    looked_through.0 + looked_through.1
}

#[test]
fn a_compressed_image_is_known_as_if_it_had_been_looked_through() {
    let old = btrfs(&tree());
    let mut edited = tree();
    edited.insert("added".into(), noise(7, 30_000));
    assert!(check(&old, &btrfs(&edited)) > 100);
}

#[test]
fn tables_of_another_cut_say_nothing() {
    let image = noise(1, 200_000);
    let otherwise = ContentOptions {
        chunker: ChunkerParams::new(512, 9, 4096).unwrap(),
        ..small_chunks()
    };
    let tables = read(&generate(&image, &otherwise))
        .manifest
        .content()
        .unwrap()
        .clone();
    assert!(by_tables(&image, &tables_of(&image), &tables).is_none());
    assert!(by_tables(&image, &tables, &tables).is_some());
}

#[test]
fn another_image_is_not_taken_for_the_one_that_the_tables_are_of() {
    let (image, other) = (noise(1, 200_000), noise(2, 200_000));
    let tables = tables_of(&image);
    assert!(by_tables(&other, &tables, &tables).is_none());
    // A shorter one ends before what they say.
    assert!(by_tables(&image[..100_000], &tables, &tables).is_none());
    assert!(by_tables(&[], &tables, &tables).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_image_is_known_as_if_it_had_been_looked_through(
        seed in 0_u64..9,
        len in 1_usize..150_000,
        edits in prop::collection::vec((any::<Index>(), 0_usize..3000, 0_usize..3000), 0..6),
    ) {
        let old = noise(seed, len);
        let mut new = old.clone();
        for (at, removed, inserted) in edits {
            let at = at.index(new.len() + 1);
            let end = new.len().min(at + removed);
            new.splice(at..end, noise(inserted as u64, inserted));
        }
        new.push(1);
        check(&old, &new);
    }

    /// The slot was written since by somebody who left the record: the new image comes out, or
    /// nothing does.
    #[test]
    fn an_image_that_the_tables_are_not_of_costs_no_more_than_the_attempt(
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        let old = noise(1, 150_000);
        let new = [&old[..], &noise(4, 9000)].concat();
        let read = read(&generate(&new, &small_chunks()));
        let tables = read.manifest.content().unwrap();
        let mut changed = old.clone();
        for (at, byte) in changes {
            changed[at.index(old.len())] = byte;
        }
        let known = by_tables(&changed, &tables_of(&old), tables);
        let old = known.unwrap_or_else(|| find(&changed, tables));
        let target = Memory::garbage((new.len() as u64).next_multiple_of(4096));
        if let Ok(built) = build_from(&read, Some(old), &target, usize::MAX) {
            prop_assert!(built.image == new);
        }
    }
}
