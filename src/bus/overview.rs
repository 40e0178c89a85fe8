//! The `Overview`: all properties of `org.updateengine.Engine1`, as the engine publishes them.
//!
//! On the bus each record is an `a{sv}` whose keys are the fields' names; a field that is not known is not
//! there, and a record that does not apply is empty. Readers skip keys that they don't know, so that later
//! engines can say more under the same version. As JSON they are objects, or `null`.

mod maybe;
mod records;
mod words;

use serde::{Deserialize, Serialize};

pub use maybe::Maybe;
pub use records::{
    EngineState, FailureReport, LastCheck, NextCheck, NoUpdate, Obstacle, RollbackReport, SlotReport,
    Transfer,
};

/// The state of the engine and of its node at one moment.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, zbus::wire::Variant, zbus::wire::Type,
)]
#[zbus(signature = "dict", rename_all = "PascalCase")]
pub struct Overview {
    /// What is being done, in a word.
    pub state: EngineState,
    /// The same in a sentence for people.
    pub summary: String,
    /// The version that runs; empty if the image doesn't say.
    pub running_version: String,
    /// The version that is installed and waits for the reboot, or is being installed; empty if none or unknown.
    pub waiting_version: String,
    /// How far the download is.
    pub progress: Maybe<Transfer>,
    /// The two slots, A first; none if the disk can't be read.
    pub slots: Vec<SlotReport>,
    /// Why the running slot is not marked good yet; empty if it is.
    pub trial: String,
    /// The last check since the daemon's start.
    pub last_check: Maybe<LastCheck>,
    /// The check that comes by itself.
    pub next_check: Maybe<NextCheck>,
    /// Why the last check brought no update.
    pub no_update: Maybe<NoUpdate>,
    /// The last failure since the daemon's start; a new attempt clears it.
    pub last_failure: Maybe<FailureReport>,
    /// The last rollback that is remembered.
    pub rollback: Maybe<RollbackReport>,
    /// What could keep the node from booting one day, each in a sentence; an earlier engine doesn't say.
    pub boot_warnings: Option<Vec<String>>,
    /// What is odd about the configuration, each in a sentence; an earlier engine doesn't say.
    pub config_warnings: Option<Vec<String>>,
}
