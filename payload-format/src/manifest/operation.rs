//! One operation by itself: type, extents, lengths, data.

use super::OperationError;
use super::room::Room;
use crate::block::{BlockRange, Extent};
use crate::digest::Sha256Digest;
use crate::header::MajorVersion;
use crate::operation::{Data, OperationKind, PatchKind, Source};
use crate::wire;

/// An operation whose fields hold, but whose source is not yet told apart into old and new.
pub(super) struct RawOperation {
    pub(super) kind: RawKind,
    pub(super) source: Vec<Extent>,
    pub(super) source_sha256: Option<Sha256Digest>,
    pub(super) destination: Vec<Extent>,
    pub(super) data: Option<Data>,
}

/// What an operation does, without its source.
#[derive(Clone, Copy)]
pub(super) enum RawKind {
    Replace,
    ReplaceBz,
    ReplaceXz,
    ReplaceZstd,
    Zero,
    Discard,
    Move,
    SourceCopy,
    Patch {
        format: PatchKind,
        source_len: u64,
        result_len: u64,
    },
}

impl RawKind {
    /// The kind of an operation that reads `source`; nothing of it is kept where none is read.
    pub(super) fn with_source(self, source: Source) -> OperationKind {
        match self {
            Self::Replace => OperationKind::Replace,
            Self::ReplaceBz => OperationKind::ReplaceBz,
            Self::ReplaceXz => OperationKind::ReplaceXz,
            Self::ReplaceZstd => OperationKind::ReplaceZstd,
            Self::Zero => OperationKind::Zero,
            Self::Discard => OperationKind::Discard,
            Self::Move => OperationKind::Move(source),
            Self::SourceCopy => OperationKind::SourceCopy(source),
            Self::Patch {
                format,
                source_len,
                result_len,
            } => OperationKind::Patch {
                format,
                source,
                source_len,
                result_len,
            },
        }
    }
}

impl RawOperation {
    pub(super) fn destination_blocks(&self) -> u64 {
        blocks(&self.destination)
    }
}

/// Blocks of all extents. Cannot overflow: [`extents`] checked the sum.
fn blocks(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.count()).sum()
}

/// Types of operations, each with what it needs.
#[derive(Clone, Copy)]
enum Type {
    /// Data, as long as the result at most.
    Plain,
    /// Data that unpacks to the result.
    Packed(RawKind),
    /// Nothing at all.
    Blank(RawKind),
    /// A source, as long as the result.
    Copy(RawKind),
    /// Data and a source.
    Patch(PatchKind),
}

impl Type {
    fn of(number: i32, version: MajorVersion) -> Result<Self, OperationError> {
        use MajorVersion::{V1, V2};
        Ok(match (number, version) {
            (wire::REPLACE, _) => Self::Plain,
            (wire::REPLACE_BZ, _) => Self::Packed(RawKind::ReplaceBz),
            (wire::REPLACE_XZ, V2) => Self::Packed(RawKind::ReplaceXz),
            (wire::REPLACE_ZSTD, V2) => Self::Packed(RawKind::ReplaceZstd),
            (wire::ZERO, V2) => Self::Blank(RawKind::Zero),
            (wire::DISCARD, V2) => Self::Blank(RawKind::Discard),
            (wire::MOVE, V1) => Self::Copy(RawKind::Move),
            (wire::SOURCE_COPY, V2) => Self::Copy(RawKind::SourceCopy),
            (wire::BSDIFF, V1) => Self::Patch(PatchKind::Bsdiff),
            (wire::SOURCE_BSDIFF, V2) => Self::Patch(PatchKind::SourceBsdiff),
            (wire::BROTLI_BSDIFF, V2) => Self::Patch(PatchKind::BrotliBsdiff),
            _ => return Err(Self::refusal(number, version)),
        })
    }

    fn refusal(number: i32, version: MajorVersion) -> OperationError {
        match wire::operation_name(number) {
            Some(name) => OperationError::Unsupported {
                name,
                number,
                version: version.number(),
            },
            None => OperationError::UnknownType(number),
        }
    }
}

/// Checks one operation. Its data must begin at `data_start`.
pub(super) fn check(
    wire: &wire::InstallOperation,
    room: &Room,
    data_start: u64,
) -> Result<RawOperation, OperationError> {
    let number = wire.r#type.ok_or(OperationError::NoType)?;
    let r#type = Type::of(number, room.version)?;
    let destination = extents(&wire.dst_extents, room, Use::Write)?;
    if destination.is_empty() {
        return Err(OperationError::NoDestination);
    }
    let mut source = extents(&wire.src_extents, room, Use::Read)?;
    let bytes = blocks(&destination) * room.block_size.bytes();
    let (kind, data) = match r#type {
        Type::Plain => (RawKind::Replace, Some(replace_data(wire, data_start, bytes)?)),
        Type::Packed(kind) => (kind, Some(data(wire, data_start)?)),
        Type::Blank(kind) => (no_data(wire, kind)?, None),
        Type::Copy(kind) => (copy_kind(wire, kind, &source, &destination)?, None),
        Type::Patch(format) => {
            let source_bytes = blocks(&source) * room.block_size.bytes();
            let kind = patch_kind(wire, format, room, (source_bytes, bytes))?;
            (kind, Some(data(wire, data_start)?))
        }
    };
    let reads = matches!(r#type, Type::Copy(_) | Type::Patch(_));
    if !reads {
        source.clear();
    }
    Ok(RawOperation {
        kind,
        source,
        source_sha256: source_hash(wire, room.version, reads)?,
        destination,
        data,
    })
}

/// The hash of what it reads, if it reads and says so.
fn source_hash(
    wire: &wire::InstallOperation,
    version: MajorVersion,
    reads: bool,
) -> Result<Option<Sha256Digest>, OperationError> {
    let hash = wire.src_sha256_hash.as_deref();
    let hash = hash.filter(|hash| reads && version == MajorVersion::V2 && !hash.is_empty());
    hash.map(digest).transpose()
}

fn digest(hash: &[u8]) -> Result<Sha256Digest, OperationError> {
    let sha256: [u8; Sha256Digest::LEN] = hash
        .try_into()
        .map_err(|_| OperationError::HashLength(hash.len()))?;
    Ok(sha256.into())
}

fn no_data(wire: &wire::InstallOperation, kind: RawKind) -> Result<RawKind, OperationError> {
    match wire.data_length {
        Some(len @ 1..) => Err(OperationError::UnexpectedData(len)),
        _ => Ok(kind),
    }
}

fn copy_kind(
    wire: &wire::InstallOperation,
    kind: RawKind,
    source: &[Extent],
    destination: &[Extent],
) -> Result<RawKind, OperationError> {
    let kind = no_data(wire, kind)?;
    let (source_blocks, destination) = (blocks(source), blocks(destination));
    if source_blocks == 0 {
        return Err(OperationError::NoSource);
    }
    if source_blocks != destination {
        return Err(OperationError::MoveLength {
            source_blocks,
            destination,
        });
    }
    Ok(kind)
}

/// The last argument is the room of source and destination in bytes.
fn patch_kind(
    wire: &wire::InstallOperation,
    format: PatchKind,
    room: &Room,
    (source_room, result_room): (u64, u64),
) -> Result<RawKind, OperationError> {
    if source_room == 0 {
        return Err(OperationError::NoSource);
    }
    let source_len = wire.src_length.unwrap_or(source_room);
    if source_len > source_room {
        return Err(OperationError::SourceLength {
            len: source_len,
            room: source_room,
        });
    }
    let result_len = wire.dst_length.unwrap_or(result_room);
    // Every block must get content, or the result would depend on what the slot held before.
    if result_len > result_room || result_room - result_len >= room.block_size.bytes() {
        return Err(OperationError::ResultLength {
            len: result_len,
            room: result_room,
        });
    }
    Ok(RawKind::Patch {
        format,
        source_len,
        result_len,
    })
}

fn replace_data(wire: &wire::InstallOperation, start: u64, room: u64) -> Result<Data, OperationError> {
    let data = data(wire, start)?;
    let len = data.len;
    (len <= room)
        .then_some(data)
        .ok_or(OperationError::DataLength { len, room })
}

fn data(wire: &wire::InstallOperation, start: u64) -> Result<Data, OperationError> {
    let len = wire
        .data_length
        .filter(|&len| len > 0)
        .ok_or(OperationError::NoData)?;
    let offset = wire.data_offset.ok_or(OperationError::NoData)?;
    if offset != start {
        return Err(OperationError::DataOffset {
            found: offset,
            expected: start,
        });
    }
    let hash = wire.data_sha256_hash.as_deref().filter(|hash| !hash.is_empty());
    let hash = hash.ok_or(OperationError::NoHash)?;
    Ok(Data {
        offset,
        len,
        sha256: digest(hash)?,
    })
}

#[derive(Clone, Copy)]
enum Use {
    Read,
    Write,
}

impl Use {
    fn past_end(self, block: u64, room: &Room) -> OperationError {
        let (blocks, image) = (room.blocks(), room.kind);
        match self {
            Self::Read => OperationError::ReadsPastEnd { block, blocks, image },
            Self::Write => OperationError::WritesPastEnd { block, blocks, image },
        }
    }
}

/// Checked extents. Their sum is held to the room too: an operation that names more blocks than
/// there are names some twice.
fn extents(wire: &[wire::WireExtent], room: &Room, purpose: Use) -> Result<Vec<Extent>, OperationError> {
    let mut total: u64 = 0;
    let mut extents = Vec::with_capacity(wire.len());
    for extent in wire {
        let extent = self::extent(*extent, room, purpose)?;
        total = total.saturating_add(extent.count());
        if total > room.blocks() {
            return Err(purpose.past_end(total, room));
        }
        extents.push(extent);
    }
    Ok(extents)
}

fn extent(wire: wire::WireExtent, room: &Room, purpose: Use) -> Result<Extent, OperationError> {
    let count = wire
        .num_blocks
        .filter(|&count| count > 0)
        .ok_or(OperationError::EmptyExtent)?;
    let start = wire.start_block.unwrap_or(0);
    if start == wire::SPARSE_HOLE {
        let hole = u32::try_from(count).map(Extent::Hole);
        return hole.map_err(|_| purpose.past_end(count, room));
    }
    let last = start.saturating_add(count - 1);
    if last >= room.blocks() {
        return Err(purpose.past_end(start.max(room.blocks()), room));
    }
    BlockRange::new(start, last + 1)
        .map(Extent::Blocks)
        // Invariant: not empty, and within the room, whose blocks all have numbers.
        .ok_or(OperationError::EmptyExtent)
}
