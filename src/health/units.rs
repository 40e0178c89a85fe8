//! States of systemd units that health depends on.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath};

use super::cause::tail;
use crate::host::subprocess::{Finished, Subprocess};

/// systemd answers at once or hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a unit's journal is kept, in bytes.
const JOURNAL: usize = 2048;

/// What systemd says about a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `activating`, `failed` …, or `not found` if there is no such unit.
    pub state: String,
    /// When it last became active, in microseconds since the boot; 0 for never.
    pub active_since: u64,
}

impl UnitState {
    /// Whether it does its work.
    #[must_use]
    pub fn is_active(&self) -> bool {
        // The other two are an active unit that takes up new settings or credentials.
        matches!(self.state.as_str(), "active" | "reloading" | "refreshing")
    }
}

/// Why systemd gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    /// It can't be reached, or refused.
    #[error("no answer from systemd")]
    Bus(#[from] zbus::Error),
    /// It is silent.
    #[error("systemd did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Who knows about units. One implementation is real; tests have their own.
pub trait Units: Send + Sync {
    /// The state of the unit called `name`, its suffix included.
    fn state(&self, name: &str) -> impl Future<Output = Result<UnitState, UnitsError>> + Send;

    /// The last lines of its journal of this boot; empty if nobody knows.
    fn last_words(&self, name: &str) -> impl Future<Output = String> + Send;
}

/// The machine's systemd, over the system bus; a connection of its own for each question, so that a bus that
/// was restarted is no trouble.
#[derive(Debug, Clone, Copy, Default)]
pub struct Systemd;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
trait Unit {
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> zbus::Result<u64>;
}

impl Systemd {
    /// Asks for an orderly reboot; returns once it has begun.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn reboot(self) -> Result<(), UnitsError> {
        let asked = async {
            let manager = ManagerProxy::new(&Connection::system().await?).await?;
            // As `systemctl reboot` does it without logind: no later job takes the reboot back.
            manager.start_unit("reboot.target", "replace-irreversibly").await
        };
        timeout(PATIENCE, asked).await.map_err(|_| UnitsError::Silent)??;
        Ok(())
    }

    async fn ask(name: &str) -> zbus::Result<UnitState> {
        let bus = Connection::system().await?;
        // Loaded rather than got: systemd forgets units that nothing refers to.
        let path = ManagerProxy::new(&bus).await?.load_unit(name).await?;
        let unit = UnitProxy::builder(&bus)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let state = match unit.load_state().await?.as_str() {
            "loaded" => unit.active_state().await?,
            "not-found" => "not found".to_owned(),
            other => other.to_owned(),
        };
        Ok(UnitState {
            state,
            active_since: unit.active_enter_timestamp_monotonic().await?,
        })
    }
}

impl Units for Systemd {
    async fn state(&self, name: &str) -> Result<UnitState, UnitsError> {
        let answer = timeout(PATIENCE, Self::ask(name)).await;
        Ok(answer.map_err(|_| UnitsError::Silent)??)
    }

    async fn last_words(&self, name: &str) -> String {
        let journal = Subprocess::new(Path::new("journalctl"), PATIENCE)
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
