//! Pure decisions: when to check, whether to take an offer, from where, and when to try again. Pure
//! functions of their arguments: the wall clock's time and the randomness come in as
//! [`UnixTime`](crate::status::UnixTime) and [`Seed`], and the caller keeps the state.
//!
//! ```text
//!  Schedule ──▶ check ──▶ Offer ──▶ PayloadState::offered ──▶ decide ──▶ Take { url } ──▶ attempt
//!     ▲                                                          │                          │
//!     │                                                          ▼                          ▼
//!     └───────────────────────────────────────────────── PutOff { code }     PayloadState::{downloaded, failed}
//! ```

mod attempts;
mod backoff;
mod blocked_payloads;
mod check_interval;
mod clock_step;
mod extensions;
mod grants;
mod history;
mod offer;
mod payload_state;
mod staged_update;
mod trial;

pub use attempts::{Attempt, Attempts, DiskView};
pub use blocked_payloads::{BlockedPayload, BlockedPayloads, KnownImages};
pub use check_interval::{Interval, Seed, ServerPace};
pub use clock_step::ClockStep;
pub use extensions::{ExtensionsError, extensions};
pub use grants::{Contact, GRANT_TIMEOUT, Heartbeat, HoldOff, HoldOffCause, contact};
pub use history::History;
pub use offer::{Decision, PolicyInput, RunningSlot, content_package, decide, wanted_deltas};
pub use payload_state::{PayloadState, Penalty, penalty};
pub use staged_update::{ActivatedBy, ActivationInput, ActivationObstacle, StagedFate, StagedUpdate};
pub use trial::{Rollback, RollbackCause, SlotPayload, Trial, TrialOutcome, TrialProgress};
