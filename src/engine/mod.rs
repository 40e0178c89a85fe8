//! The engine: one task owns the state, a pure function decides, everything that takes time is a
//! job.
//!
//! ```text
//!            commands (bus)   timers   ends of jobs, progress
//!                   └────────────┼────────────┘
//!                                ▼ Event
//!                     step(State, Event)  ── pure, total ──▶  State, [Effect]
//!                                                                      │
//!        statuses to signal (bus) ◀── Signal ──────────────────────────┤
//!        snapshot (bus) ◀── State, facts about the node, rate ─────────┤   after each event
//!        jobs on an Updater: mark good, check, report, prepare, ◀──────┘
//!                            download, finish, revisit
//! ```
//!
//! The life of an attempt. Each phase waits for the end of one job; in brackets the word on the
//! bus:
//!
//! ```text
//!   Idle ─▶ Checking ─▶ Preparing ─▶ Announcing ─▶ Downloading ─▶ Downloaded ─▶ Finishing ─▶ Completing ─▶ NeedReboot
//!   [IDLE]  [CHECKING]  [AVAILABLE]   13/1 sent    [DOWNLOADING]  14/1 sent     [FINALIZING]  3/1 sent     [NEED_REBOOT]
//!     ▲         │           │                           │                           │                        │  ▲
//!     │         ▼           ▼                           ▼                           ▼          ResetStatus   │  │ ping
//!     └──── Reporting  [REPORTING_ERROR_EVENT], 3/0 or 3/9 sent ──────────────(postinst exit 3)─▶ ◀──────────┘  └─┘
//! ```
//!
//! What else may become of an update that waits, up to its replacement by another one, is drawn in
//! `step/waiting.rs`.
//!
//! Where configuration separates installation and activation, an attempt ends with the other slot
//! unbootable: that is drawn in `step/staging.rs`.
//!
//! Beside it, the running slot's trial: a job of its own from the start of the daemon to its end.
//!
//! ```text
//!   Unknown ─▶ watched ─┬─ healthy ─▶ Marking ─▶ Good
//!                       └─ deadline ─▶ leave: GPT re-read ─┬─ the other slot boots ─▶ reboot
//!                             ▲                            ├─ it doesn't ─▶ OnTrial, watched on without a deadline
//!                             └────────────────────────────┘  (good meanwhile: nothing happens)
//! ```
//!
//! Two rules keep a node bootable here; the parts below keep the rest. A check is only ever ordered
//! after the running slot was looked at, and a download only after it was found good: so the other
//! slot may be unbootable while it is written. And once the other slot boots next, the running one
//! is not marked any more, which would put it before the other.

mod attempt_context;
mod clock;
mod event;
mod failure;
mod node;
mod progress;
mod reportable;
mod snapshot;
mod state;
mod step;
mod task;
mod updater;

pub use attempt_context::{AttemptContext, CancelSignal};
pub use event::{
    CheckOutcome, Commitment, Effect, Event, Fallback, OfferSummary, Report, StagedReadiness, Unconfirmed,
};
pub use failure::{Failure, SlotError};
pub use node::{
    ActivationError, DiskChoice, HangHistoryError, Node, RememberError, Settings, activate_at_reboot,
    record_hang, withdraw_hang,
};
pub use progress::{Meter, Throttle};
pub use reportable::Reportable;
pub use snapshot::{BootsNext, NodeFacts, Updates};
pub use state::{Afterwards, Flow, NextBoot, Phase, RunningSlotState, State};
pub use step::{UnexpectedEvent, step};
pub use task::Engine;
pub use updater::{Checked, Progress, Updater};
