//! Commands of the client, such as `update_engine_client status`, beside the original's flags.
//!
//! ```text
//!   first argument is a command ─▶ arguments (clap) ─▶ run ─┬─ remote    Engine1 on the bus, errors with a remedy       
//!                                                           ├─ page, history, health, preview  what people read
//!                                                           ├─ progress  a download until its end
//!                                                           └─ settings  configuration in force
//! ```
//!
//! Exit codes: 0 done; 1 the engine refuses, with its sentence; 2 wrong arguments; 3 the engine
//! can't be reached; 4 not allowed. `update` has more: 5 nothing is offered; 6 what is offered is
//! put off or refused, and not because something broke; 7 the update failed. `check --dry-run` ends
//! as `update` would, and with 7 where that is doubtful.

mod arguments;
mod health;
mod history;
mod page;
mod progress;
mod reboot_lock;
mod remote;
mod run;
mod settings;
mod time;

pub use arguments::{Arguments, command, summary};
pub use run::run;

/// Exit code of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; `update`: an update waits for the reboot.
    Done = 0,
    /// The engine refuses.
    Refused = 1,
    /// The engine can't be reached, or is one that doesn't know the command.
    Unreachable = 3,
    /// The user is not allowed.
    Denied = 4,
    /// `update`, `check --dry-run`: the server offers nothing, or no offer is known.
    NothingOffered = 5,
    /// `update`, `check --dry-run`: put off or refused.
    PutOff = 6,
    /// `update`, `check --dry-run`: failed, would fail, or may fail.
    Failed = 7,
}
