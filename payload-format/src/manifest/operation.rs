//! One operation by itself: type, extents, lengths, data.

use super::OperationError;
use super::image::Room;
use crate::block::{BlockRange, Extent};
use crate::operation::Data;
use crate::wire;

/// An operation whose fields hold, but whose source is not yet told apart into old and new.
pub(super) struct RawOperation {
    pub(super) kind: RawKind,
    pub(super) source: Vec<Extent>,
    pub(super) destination: Vec<Extent>,
    pub(super) data: Option<Data>,
}

/// What an operation does, without its source.
#[derive(Clone, Copy)]
pub(super) enum RawKind {
    Replace,
    ReplaceBz,
    Move,
    Bsdiff { source_len: u64, result_len: u64 },
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

/// Checks one operation. Its data must begin at `data_start`.
pub(super) fn check(
    wire: &wire::InstallOperation,
    room: &Room,
    data_start: u64,
) -> Result<RawOperation, OperationError> {
    let destination = extents(&wire.dst_extents, room, Use::Write)?;
    if destination.is_empty() {
        return Err(OperationError::NoDestination);
    }
    let source = extents(&wire.src_extents, room, Use::Read)?;
    let bytes = blocks(&destination) * room.block_size.bytes();
    let (kind, source, data) = match wire.r#type.ok_or(OperationError::NoType)? {
        wire::REPLACE => (
            RawKind::Replace,
            Vec::new(),
            Some(replace_data(wire, data_start, bytes)?),
        ),
        wire::REPLACE_BZ => (RawKind::ReplaceBz, Vec::new(), Some(data(wire, data_start)?)),
        wire::MOVE => (move_kind(wire, &source, &destination)?, source, None),
        wire::BSDIFF => {
            let source_bytes = blocks(&source) * room.block_size.bytes();
            let kind = bsdiff_kind(wire, room, source_bytes, bytes)?;
            (kind, source, Some(patch_data(wire, data_start, room.patch_len)?))
        }
        other => return Err(OperationError::UnknownType(other)),
    };
    Ok(RawOperation {
        kind,
        source,
        destination,
        data,
    })
}

fn move_kind(
    wire: &wire::InstallOperation,
    source: &[Extent],
    destination: &[Extent],
) -> Result<RawKind, OperationError> {
    if let Some(len @ 1..) = wire.data_length {
        return Err(OperationError::UnexpectedData(len));
    }
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
    Ok(RawKind::Move)
}

fn bsdiff_kind(
    wire: &wire::InstallOperation,
    room: &Room,
    source_room: u64,
    result_room: u64,
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
    Ok(RawKind::Bsdiff {
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

fn patch_data(wire: &wire::InstallOperation, start: u64, limit: u64) -> Result<Data, OperationError> {
    let data = data(wire, start)?;
    let len = data.len;
    (len <= limit)
        .then_some(data)
        .ok_or(OperationError::PatchLength { len, limit })
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
    let sha256: [u8; 32] = hash
        .try_into()
        .map_err(|_| OperationError::HashLength(hash.len()))?;
    Ok(Data {
        offset,
        len,
        sha256: sha256.into(),
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

/// Checked extents. Their sum is held to the room too: an operation that names more blocks than there are
/// names some twice.
fn extents(wire: &[wire::Extent], room: &Room, purpose: Use) -> Result<Vec<Extent>, OperationError> {
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

fn extent(wire: wire::Extent, room: &Room, purpose: Use) -> Result<Extent, OperationError> {
    let count = wire
        .num_blocks
        .filter(|&count| count > 0)
        .ok_or(OperationError::EmptyExtent)?;
    let start = wire.start_block.unwrap_or(0);
    if start == wire::SPARSE_HOLE {
        return Ok(Extent::Hole(count));
    }
    let last = start.saturating_add(count - 1);
    if last >= room.blocks() {
        return Err(purpose.past_end(start.max(room.blocks()), room));
    }
    BlockRange::new(start, last + 1)
        .map(Extent::Blocks)
        .ok_or(OperationError::EmptyExtent)
}
