//! The operations of one image: each checked, then placed in the in-place plan.

use super::operation::{self, RawOperation};
use super::room::Room;
use super::{ManifestError, OperationError};
use crate::block::BlockRange;
use crate::header::MajorVersion;
use crate::image::ImageInfo;
use crate::in_place::{InPlace, PlannedOperation, Reading};
use crate::op_id::OpId;
use crate::operation::{Operation, Replay, Source};
use crate::wire;

/// Blocks that all operations of an image may write, as a multiple of the room: each block is
/// written once, and a few twice where a delta parks blocks to break a cycle. More is a waste of
/// time and of the disk's life.
const REWRITES: u64 = 3;
/// And so many beside these: tiny images may be written in odder ways.
const FEW_BLOCKS: u64 = 1024;

/// One image under construction.
pub(super) struct Planner {
    room: Room,
    old: Option<ImageInfo>,
    new: ImageInfo,
    in_place: InPlace,
    blocks_left: u64,
}

impl Planner {
    pub(super) fn new(room: Room, old: Option<ImageInfo>, new: ImageInfo, pieces: usize) -> Self {
        let reading = match room.version {
            MajorVersion::V1 => Reading::InPlace,
            MajorVersion::V2 => Reading::OldImage,
        };
        Self {
            room,
            old,
            new,
            in_place: InPlace::new(reading, pieces),
            blocks_left: most_blocks(&room),
        }
    }

    pub(super) fn operation(
        &mut self,
        id: OpId,
        wire: &wire::InstallOperation,
        data_start: u64,
    ) -> Result<Operation, ManifestError> {
        let refuse = |error| ManifestError::Operation { op: id, error };
        let raw = operation::check(wire, &self.room, data_start).map_err(refuse)?;
        self.count_blocks(&raw)?;
        let step = self.in_place.step(id, &raw.source, &raw.destination)?;
        self.check_source(&raw, &step).map_err(refuse)?;
        Ok(Operation {
            id,
            image: self.room.kind,
            kind: raw.kind.with_source(Source {
                sha256: raw.source_sha256,
                ..step.source
            }),
            destination: raw.destination,
            data: raw.data,
            after: step.after,
            replay: step.replay,
        })
    }

    fn count_blocks(&mut self, raw: &RawOperation) -> Result<(), ManifestError> {
        let left = self.blocks_left.checked_sub(raw.destination_blocks());
        self.blocks_left = left.ok_or(ManifestError::Rewrites {
            image: self.room.kind,
            blocks: most_blocks(&self.room),
        })?;
        Ok(())
    }

    fn check_source(&self, raw: &RawOperation, step: &PlannedOperation) -> Result<(), OperationError> {
        if let Some(range) = step.source.last_old() {
            let old = self.old.ok_or(OperationError::NoOldImage)?;
            let blocks = self.room.block_size.touched_blocks(old.size);
            if range.end() > blocks {
                return Err(OperationError::ReadsPastOld {
                    block: range.start().max(blocks),
                    blocks,
                });
            }
        }
        if step.replay == Replay::Never {
            self.check_held(raw)?;
        }
        Ok(())
    }

    /// What overwrites its own source comes whole, and is held back whole.
    fn check_held(&self, raw: &RawOperation) -> Result<(), OperationError> {
        let limit = self.room.whole_data;
        let data = raw.data.map_or(0, |data| data.len);
        if data > limit {
            return Err(OperationError::PatchLength { len: data, limit });
        }
        let len = raw
            .destination_blocks()
            .saturating_mul(self.room.block_size.bytes());
        if len > limit {
            return Err(OperationError::OverwritesSource { len, limit });
        }
        Ok(())
    }

    pub(super) fn pieces_left(&self) -> usize {
        self.in_place.pieces_left()
    }

    /// What is left for the old image to give. A full image must leave nothing, and major version 2
    /// copies by operations alone.
    pub(super) fn unwritten(&self) -> Result<Vec<BlockRange>, ManifestError> {
        let blocks = self.room.block_size.touched_blocks(self.new.size);
        let unwritten = self.in_place.unwritten(blocks);
        let may_leave = self.old.is_some() && self.room.version == MajorVersion::V1;
        match unwritten.first() {
            Some(gap) if !may_leave => Err(ManifestError::Unwritten {
                image: self.room.kind,
                block: gap.start(),
            }),
            _ => Ok(unwritten),
        }
    }
}

/// Blocks that all operations of an image may write.
fn most_blocks(room: &Room) -> u64 {
    room.blocks().saturating_mul(REWRITES).saturating_add(FEW_BLOCKS)
}
