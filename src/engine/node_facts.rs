//! Facts about the node beside the engine's state, as the bus shows them.

use crate::status::{AttemptReport, RollbackReport, SlotReport, Tally};

/// One look at the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The version that runs; may be empty.
    pub running_version: String,
    /// The slots as the table has them now; none if it can't be read.
    pub slots: Vec<SlotReport>,
    /// Why there are none.
    pub slots_unknown: Option<String>,
    /// Which slot the next boot takes.
    pub boots_next: BootsNext,
    /// Whether configuration switches updates off.
    pub updates: Updates,
    /// What is odd about the configuration, each in a sentence.
    pub config_warnings: Vec<String>,
    /// What could keep the node from booting, each in a sentence.
    pub boot_warnings: Vec<String>,
    /// Why nobody knows what is required of the running slot, if so.
    pub held: Option<String>,
    /// The version that waits in the other slot, if one does.
    pub waiting_version: Option<String>,
    /// The last rollback that is remembered, ...
    pub rollback: Option<RollbackReport>,
    /// ... and what the unit or check behind it said.
    pub rollback_output: String,
    /// The last attempts at updates, oldest first.
    pub attempts: Vec<AttemptReport>,
    /// What this machine has done so far.
    pub tally: Tally,
}

/// What the partition table says of the next boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BootsNext {
    /// It can't be read, or neither slot is what the loader takes.
    #[default]
    Unknown,
    /// The slot that runs.
    Running,
    /// The other one.
    Other,
}

/// Whether updates are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Updates {
    /// They are.
    #[default]
    Enabled,
    /// `SERVER=disabled`.
    Disabled,
    /// Nobody knows, and why: nothing is asked.
    Unknown(String),
}
