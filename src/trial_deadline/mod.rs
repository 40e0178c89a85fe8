//! The trial deadline: ends a hang of a slot on trial without the daemon.
//!
//! ```text
//!  initrd, or early in the boot ─ arm ─▶ decide ─ nothing to arm, and why ─▶ journal
//!                                          │
//!                                          └▶ keeper: a process that nobody kills, in locked memory
//!                                               │      └ behind it a watchdog that nobody else has, not fed
//!   the slot is marked good ─ disarm first ────▶│ gone; a watchdog that can't be stopped is fed for ever
//!                                               ▼
//!                           deadline: decided anew ─ no ─▶ gone
//!                                               └─ yes ─▶ cause recorded ─▶ reset ─▶ the other slot
//! ```
//!
//! Invariant: nothing is armed and nothing resets unless the slot is on trial by the disk's table, the
//! other slot is good and has its kernel, read at that moment. Only the watchdog can't look: it fires
//! `WATCHDOG_DELAY` after the process should have, when that could not.
//!
//! | what | where |
//! |---|---|
//! | the decision, pure | [`decide`] |
//! | what it is made from | [`Facts`] |
//! | the program that arms | [`arm`] |
//! | the process that waits | [`keep`] |
//! | state of the keeper, and its end | [`armed`], [`disarm`] |
//! | why there is no keeper | [`why_not_armed`] |

mod armed_deadline;
mod arming;
mod boot_partition;
mod control;
mod daemon_start;
mod decision;
mod facts;
mod keeper;
mod last_words;
mod left_running;
mod process;
mod systemd_watchdog;
mod watchdog;

pub use armed_deadline::ArmedDeadline;
pub use arming::{ArmError, Armed, arm, why_not_armed};
pub use boot_partition::Kernel;
pub use control::{DeadlineControlError, Disarmed, armed, disarm, disarm_or_warn};
pub use daemon_start::DaemonStart;
pub use decision::{ArmDecision, NotArmed, Plan, decide};
pub use facts::{BothSlots, Facts, FactsError, HangEnd, NoHangEnd, on_next_trial};
pub use keeper::{KeeperError, keep};
pub use last_words::{HangRecordError, HangRecords};
pub use left_running::LeftRunningError;
pub use systemd_watchdog::SystemdWatchdog;
pub use watchdog::{NoWatchdog, WatchdogFacts, WatchdogObstacle};

/// Name of the program that arms.
pub const PROGRAM: &str = "update-engine-trial-deadline";
/// Name of the keeper's process. systemd kills no process of root's whose name begins so, neither
/// when the initrd ends nor at shutdown.
pub const KEEPER: &str = "@update-engine-trial-deadline";
