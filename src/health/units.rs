//! The states of systemd units that health depends on, and the last lines of their journals.

use std::path::Path;
use std::time::Duration;

use super::cause::tail;
use crate::host::subprocess::{Finished, Subprocess};
use crate::systemd::{Systemd, SystemdError, UnitState};

/// The time limit of `journalctl`.
const JOURNAL_LIMIT: Duration = Duration::from_secs(10);

/// How much of a unit's journal is kept, in bytes.
const JOURNAL: usize = 2048;

/// The source of units' states. [`Systemd`] is the real one; tests have their own.
pub trait Units: Send + Sync {
    /// The state of the unit called `name`, its suffix included.
    fn state(&self, name: &str) -> impl Future<Output = Result<UnitState, SystemdError>> + Send;

    /// The last lines of its journal of this boot; empty if nobody knows.
    fn last_words(&self, name: &str) -> impl Future<Output = String> + Send;
}

impl Units for Systemd {
    async fn state(&self, name: &str) -> Result<UnitState, SystemdError> {
        self.unit_state(name).await
    }

    async fn last_words(&self, name: &str) -> String {
        let journal = Subprocess::new(Path::new("journalctl"), JOURNAL_LIMIT)
            .arg(format!("--unit={name}"))
            .args(["--boot", "--lines=10", "--output=cat", "--no-pager", "--quiet"]);
        match journal.run_quietly().await {
            Ok(Finished { status, output }) if status.success() => {
                tail(&output.to_string(), JOURNAL).to_owned()
            }
            _ => String::new(),
        }
    }
}
