//! Content payloads: whatever the old image is, the new one comes out, or nothing does.

mod file_systems;
mod images;
mod independent;
mod interrupted;
mod parts;
mod predecessors;
mod refusals;

use std::sync::Arc;

use payload_format::writer::{ContentOptions, ContentPayload, Snapshot};
use payload_format::{
    ChunkerParams, ContentBuilder, ContentError, ContentTables, Event, ExtraPartitionLimits, Limits,
    Manifest, OldContent, PatchedChunks, Reader, Sha256Digest, WrittenContent,
};

use crate::memory::Memory;

/// A content payload that was read.
struct Read {
    manifest: Arc<Manifest>,
    /// All packed chunks.
    data: Vec<u8>,
}

/// Limits of whoever takes content payloads.
fn limits() -> Limits {
    Limits {
        content_payloads: true,
        extra_partitions: ExtraPartitionLimits::Any,
        ..Limits::for_slot(1 << 30)
    }
}

/// Small chunks, so that small images have many.
fn small_chunks() -> ContentOptions {
    ContentOptions {
        chunker: ChunkerParams::new(256, 9, 4096).unwrap(),
        prefix_len: 8 << 10,
        level: 3,
    }
}

fn generate(image: &[u8], options: &ContentOptions) -> Vec<u8> {
    generate_from(&[], image, options)
}

/// With patches from old images.
fn generate_from(olds: &[&[u8]], image: &[u8], options: &ContentOptions) -> Vec<u8> {
    let memory = Memory::new(image.to_vec());
    let snapshot = Snapshot::new(memory.as_ref(), image.len() as u64);
    let (mut spool, mut out) = (std::io::Cursor::new(Vec::new()), Vec::new());
    let olds: Vec<_> = olds.iter().map(|old| Memory::new(old.to_vec())).collect();
    let mut payload = ContentPayload::new(snapshot).with_threads(2.try_into().unwrap());
    for old in &olds {
        payload = payload.with_predecessor(Snapshot::new(old.as_ref(), old.bytes().len() as u64));
    }
    let summary = payload.write(options, &mut spool, &mut out, &mut |_| {}).unwrap();
    assert_eq!(summary.payload_size, out.len() as u64);
    assert_eq!(summary.image_sha256, Sha256Digest::of(image));
    out
}

fn read(payload: &[u8]) -> Read {
    let mut reader = Reader::new(limits());
    let (mut manifest, mut data) = (None, Vec::new());
    for piece in payload.chunks(70_001) {
        let mut input = piece;
        while let Some(event) = reader.read(&mut input).unwrap() {
            match event {
                Event::Metadata { manifest: found, .. } => manifest = Some(found),
                Event::Content { data: piece } => data.extend_from_slice(&piece),
                other => panic!("{other:?}"),
            }
        }
    }
    let finished = reader.finish().unwrap();
    assert_eq!(finished.payload_sha256, Sha256Digest::of(payload));
    let manifest = manifest.unwrap();
    assert_eq!(manifest.content().unwrap().data_len(), data.len() as u64);
    Read { manifest, data }
}

/// What was built, and how many chunks came from the old image.
struct Built {
    image: Vec<u8>,
    from_old: usize,
    chunks: usize,
    /// How many chunks patches made.
    patched: usize,
    /// Bytes of packed chunks and patches that came from the payload.
    fetched: usize,
}

/// Builds the image as a node would, on top of garbage.
fn build(read: &Read, old: Option<&[u8]>) -> Result<Built, ContentError> {
    let image_len = read.manifest.partition().new.size;
    let target = Memory::garbage(image_len.next_multiple_of(4096));
    build_on(read, old, &target, usize::MAX)
}

/// The same on what an interrupted one has left.
fn resume_on(read: &Read, old: Option<&[u8]>, target: &Arc<Memory>) -> Result<Built, ContentError> {
    resume_until(read, old, target, usize::MAX)
}

/// The same, which ends before chunk number `until`.
fn resume_until(
    read: &Read,
    old: Option<&[u8]>,
    target: &Arc<Memory>,
    until: usize,
) -> Result<Built, ContentError> {
    let tables = read.manifest.content().unwrap();
    let image_len = read.manifest.partition().new.size;
    let written = WrittenContent::find(target.clone(), image_len, Arc::clone(tables), |_| true);
    let old = old.map(|old| find(old, tables));
    build_with(read, (old, Some(written.unwrap())), target, until)
}

/// The same on what lies there; it ends before chunk number `until`.
fn build_on(
    read: &Read,
    old: Option<&[u8]>,
    target: &Arc<Memory>,
    until: usize,
) -> Result<Built, ContentError> {
    let tables = read.manifest.content().unwrap();
    build_from(read, old.map(|old| find(old, tables)), target, until)
}

/// The same from an old image that was looked through before.
fn build_from(
    read: &Read,
    old: Option<OldContent>,
    target: &Arc<Memory>,
    until: usize,
) -> Result<Built, ContentError> {
    build_with(read, (old, None), target, until)
}

fn build_with(
    read: &Read,
    (mut old, mut written): (Option<OldContent>, Option<WrittenContent>),
    target: &Arc<Memory>,
    until: usize,
) -> Result<Built, ContentError> {
    let tables = read.manifest.content().unwrap();
    let image_len = read.manifest.partition().new.size;
    let is_written = |chunk| written.as_ref().is_some_and(|written| written.has(chunk));
    let mut sections = old
        .as_ref()
        .map(|old| PatchedChunks::new(tables, old, |chunk| old.has(chunk) || is_written(chunk)));
    let mut patched = 0;
    let mut builder = ContentBuilder::new(Arc::clone(tables), image_len, target.clone());
    let (mut place, mut from_old, mut fetched) = (0, 0, 0);
    while let Some((number, chunk)) = builder.due().filter(|(number, _)| *number < until) {
        let packed_len = chunk.packed_len as usize;
        let made = match (&mut sections, &mut old) {
            (Some(sections), Some(old)) => {
                let made = sections.take(number, old, |place, len| {
                    fetched += len as usize;
                    let place = usize::try_from(place).unwrap();
                    Ok::<_, ContentError>(read.data[place..place + len as usize].to_vec())
                })?;
                made.map(<[u8]>::to_vec)
            }
            _ => None,
        };
        let is_made = made.is_some();
        patched += usize::from(is_made);
        let content = made.or_else(|| {
            let old = old.as_mut()?;
            let content = old.read(number).unwrap();
            assert!(content.is_none() || old.has(number));
            content
        });
        if let Some(content) = content {
            builder.take(&content)?;
            from_old += usize::from(!is_made);
        } else if let Some(written) = written.as_mut().filter(|written| written.has(number)) {
            builder.take(&written.read(number).unwrap().unwrap())?;
        } else {
            builder.take_packed(&read.data[place..place + packed_len])?;
            fetched += packed_len;
        }
        place += packed_len;
    }
    if until < tables.chunks().len() {
        builder.interrupt()?;
        let missing = tables.chunks().len() - until;
        return Err(ContentError::Incomplete { missing });
    }
    builder.finish()?;
    let mut image = target.bytes();
    image.truncate(usize::try_from(image_len).unwrap());
    Ok(Built {
        image,
        from_old,
        chunks: tables.chunks().len(),
        patched,
        fetched,
    })
}

fn find(old: &[u8], tables: &Arc<ContentTables>) -> OldContent {
    let len = old.len() as u64;
    OldContent::find(Memory::new(old.to_vec()), len, Arc::clone(tables)).unwrap()
}

/// The new image must come of this old one, and of none.
fn check(old: &[u8], new: &[u8]) -> Built {
    let read = read(&generate(new, &small_chunks()));
    let whole = build(&read, None).unwrap();
    assert!(whole.image == new, "from nothing");
    assert_eq!(whole.fetched, read.data.len());
    let built = build(&read, Some(old)).unwrap();
    assert!(built.image == new, "from the old image");
    // What a cut left makes no difference to who begins anew.
    let target = Memory::garbage((new.len() as u64).next_multiple_of(4096));
    let last = built.chunks.checked_sub(1);
    for until in last.into_iter().flat_map(|last| [last / 3, last]) {
        let cut = build_on(&read, Some(old), &target, until);
        let (left, missing) = (built.chunks - until, cut.err());
        let Some(ContentError::Incomplete { missing }) = missing else {
            panic!("{missing:?}");
        };
        assert_eq!(missing, left);
    }
    let anew = build_on(&read, Some(old), &target, usize::MAX).unwrap();
    assert!(anew.image == new, "after cuts");
    built
}
