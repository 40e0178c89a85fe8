//! The object `/org/updateengine/Engine1/Diagnostics`: what programs of the node said, which the bus policy
//! shows to those only who could read the journal.

use zbus::wire::Variant;

use super::Snapshot;
use super::record::{Record, one};

/// What not everybody may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// The last lines of the unit or check that the last remembered rollback was caused by; may be empty.
    pub rollback_output: String,
}

/// All properties by their names on the bus. Never signalled: signals reach everybody.
pub(super) fn properties(snapshot: &Snapshot) -> Record {
    let output = Variant::from(snapshot.diagnostics.rollback_output.clone());
    one("RollbackOutput", output).into_iter().collect()
}
