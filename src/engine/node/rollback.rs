//! The other slot next, because an operator wants it.

use ::slots::SlotAttributes;

use super::history::RememberError;
use super::{Node, slots};
use crate::disk::{DiskError, SlotName, WentBack};

/// Why the other slot doesn't boot next.
#[derive(Debug, thiserror::Error)]
pub(super) enum RollbackError {
    /// Nothing says that it is whole and was healthy once.
    #[error(
        "{slot} is not marked good ({attributes}): it never was, or an installation has begun to write it"
    )]
    NeverGood {
        slot: SlotName,
        attributes: SlotAttributes,
    },
    /// It could not boot.
    #[error("{0}")]
    NoKernel(String),
    /// The slots can't be read or written.
    #[error("the slots can't be read or written")]
    Disk(#[from] DiskError),
    /// What is left would be installed again.
    #[error("the rollback can't be remembered")]
    Remember(#[from] RememberError),
}

impl Node {
    /// Gives the version in the other slot, empty if unknown. Blocks.
    ///
    /// Order of writes, and what a cut between leaves behind:
    /// 1. the record: the running slot's payload is not installed again by itself. The slot still boots; once it
    ///    is marked good after the next start, that is taken back;
    /// 2. the table, backup before primary: the loader takes one slot or the other, and both are good;
    /// 3. the marker (the engine's next effect). Without it a daemon that is started anew marks the running slot
    ///    good, which puts it first again: as if nobody had asked.
    pub(super) fn go_back(&self) -> Result<String, RollbackError> {
        let disk = slots::open(&self.settings)?;
        let slot = !disk.running();
        let attributes = disk.attributes(slot)?;
        if !attributes.is_successful() {
            return Err(RollbackError::NeverGood { slot, attributes });
        }
        if let Some(reason) = self.missing_kernel(slot) {
            return Err(RollbackError::NoKernel(reason));
        }
        self.remember_leaving(&disk)?;
        match disk.go_back()? {
            WentBack::OtherIsNext => tracing::info!("{slot} boots next, by order"),
            WentBack::NeverGood(attributes) => return Err(RollbackError::NeverGood { slot, attributes }),
        }
        Ok(self.version_of_other().unwrap_or_default())
    }

    /// What the other slot holds, if that is known. Blocks.
    pub(super) fn version_of_other(&self) -> Option<String> {
        let rows = slots::open(&self.settings).and_then(|disk| Ok((disk.running(), disk.table()?)));
        let (running, rows) = rows.ok()?;
        let other = rows.into_iter().find(|row| row.slot != running)?;
        self.history().version_in(&other.partuuid).map(str::to_owned)
    }
}
