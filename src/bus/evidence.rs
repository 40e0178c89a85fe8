//! The object `/org/updateengine/Engine1/Evidence`: what programs of the node said, which the bus policy
//! shows to those only who could read the journal.

use zbus::wire::Variant;

use super::Account;
use super::record::{Record, one};

/// What not everybody may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The last lines of the unit or check that the last remembered rollback was caused by; may be empty.
    pub rollback_output: String,
}

/// All properties by their names on the bus. Never signalled: signals reach everybody.
pub(super) fn properties(account: &Account) -> Record {
    let output = Variant::from(account.evidence.rollback_output.clone());
    one("RollbackOutput", output).into_iter().collect()
}
