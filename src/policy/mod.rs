//! Pure decisions: when to check, whether to take an offer, from where, and when to
//! try again. Pure functions of what they are given; the clock's time and the randomness come in as
//! [`UnixTime`] and [`Seed`], and whoever calls keeps the state.
//!
//! ```text
//!  Schedule ──▶ check ──▶ Offer ──▶ PayloadState::offered ──▶ decide ──▶ Take { url } ──▶ attempt
//!     ▲                                                          │                          │
//!     │                                                          ▼                          ▼
//!     └───────────────────────────────────────────────── PutOff { code }     PayloadState::{downloaded, failed}
//! ```

mod attempts;
mod blame;
mod build;
mod clock_step;
mod deltas;
mod extensions;
mod grants;
mod history;
mod images;
mod offer;
mod payload_state;
mod schedule;
mod seed;
mod tally;
mod trial;

pub use attempts::{AskedBy, Attempt, AttemptState, Attempts, Look};
pub use blame::{BlamedPayloads, BlockedPayload};
pub use build::Build;
pub use clock_step::ClockStep;
pub use deltas::{RunningSlot, wanted_deltas};
pub use extensions::{ExtensionsError, extensions};
pub use grants::{Contact, GRANT_TIMEOUT, Heartbeat, HoldOff, HoldOffCause, contact};
pub use history::{History, Outcome};
pub use images::Images;
pub use offer::{Decision, PolicyInput, decide};
pub use payload_state::{PayloadState, Penalty, penalty};
pub use schedule::{CheckOutcome, Interval};
pub use seed::Seed;
pub use tally::{CheckEnd, Checks, Tally};
pub use trial::{Payload, Progress, Rollback, RollbackCause, Trial};

/// Wall clock time: seconds since 1970-01-01 00:00 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This much later; stays at the end of time.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
