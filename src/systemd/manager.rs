//! The proxies of systemd's D-Bus interfaces, and the questions and orders that need no unit of our
//! own.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Variant};

/// systemd's name on the bus.
pub(super) const SERVICE: &str = "org.freedesktop.systemd1";

/// systemd answers at once or hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the start of a unit may take that waits for mounts.
const START: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait SystemdManager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn list_units(&self) -> zbus::Result<Vec<UnitRow>>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    /// A reload begins or, `active` being false, has ended.
    #[zbus(signal)]
    fn reloading(&self, active: bool) -> zbus::Result<()>;
}

/// A row of systemd's list of units: name, description, states of load, activity and detail, the
/// unit that it follows, its path, and its job's number, type and path.
pub(super) type UnitRow = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
pub(super) trait SystemdUnit {
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> zbus::Result<u64>;
    /// The number of the job that is queued or runs for the unit, 0 for none, and its object.
    #[zbus(property)]
    fn job(&self) -> zbus::Result<(u32, OwnedObjectPath)>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
pub(super) trait SystemdService {
    #[zbus(property, name = "ExecMainCode")]
    fn exec_main_code(&self) -> zbus::Result<i32>;
    #[zbus(property, name = "ExecMainStatus")]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    /// When the main process ended, in microseconds since the boot; 0 while it runs.
    #[zbus(property, name = "ExecMainExitTimestampMonotonic")]
    fn ended(&self) -> zbus::Result<u64>;
}

impl SystemdUnitProxy<'_> {
    /// The proxy of the unit at `path`, whose properties are asked for at each use.
    pub(super) async fn at(
        bus: &Connection,
        path: OwnedObjectPath,
    ) -> zbus::Result<SystemdUnitProxy<'static>> {
        SystemdUnitProxy::builder(bus)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }
}

/// The state of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `activating`, `failed` …, or `not found` if there is no such unit.
    pub state: String,
    /// When it last became active, in microseconds since the boot; 0 for never.
    pub active_since: u64,
}

impl UnitState {
    /// Whether the unit is up.
    #[must_use]
    pub fn is_active(&self) -> bool {
        // The other two are an active unit that takes up new settings or credentials.
        matches!(self.state.as_str(), "active" | "reloading" | "refreshing")
    }
}

/// The errors of a question to systemd.
#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    /// It can't be reached, or refused.
    #[error("no answer from systemd")]
    Bus(#[from] zbus::Error),
    /// It did not answer in time.
    #[error("systemd did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// A unit was started, and is not active.
    #[error("{unit} was started, and is {state:?} instead of active")]
    NotActive {
        /// Its name.
        unit: String,
        /// Its state.
        state: String,
    },
}

impl SystemdError {
    /// Whether systemd, or the bus for it, has answered with an error.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Bus(zbus::Error::MethodError(..) | zbus::Error::FDO(_))
        )
    }
}

/// The machine's systemd, over the system bus.
#[derive(Debug, Clone, Copy, Default)]
pub struct Systemd;

impl Systemd {
    /// Orders an orderly reboot; returns once it has begun.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn reboot(self) -> Result<(), SystemdError> {
        let ordered = async {
            let manager = SystemdManagerProxy::new(&Connection::system().await?).await?;
            // As `systemctl reboot` does it without logind: no later job takes the reboot back.
            manager.start_unit("reboot.target", "replace-irreversibly").await
        };
        answer(ordered).await.map(drop)
    }

    /// Starts the unit called `name`; returns once that is ordered.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn start(self, name: &str) -> Result<(), SystemdError> {
        let ordered = async {
            let manager = SystemdManagerProxy::new(&Connection::system().await?).await?;
            manager.start_unit(name, "replace").await
        };
        answer(ordered).await.map(drop)
    }

    /// Starts the unit called `name`; returns once it is active.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses, or the unit does not become active within half a
    /// minute, whether it fails or is left out by its conditions.
    pub async fn bring_up(self, name: &str) -> Result<(), SystemdError> {
        self.start(name).await?;
        let settled = async {
            while answer(is_queued(name)).await? {
                sleep(LOOK_AGAIN).await;
            }
            Ok::<_, SystemdError>(())
        };
        if let Ok(settled) = timeout(START, settled).await {
            settled?;
        }
        let state = self.unit_state(name).await?;
        if state.is_active() {
            return Ok(());
        }
        Err(SystemdError::NotActive {
            unit: name.to_owned(),
            state: state.state,
        })
    }

    /// Stops the unit called `name`; returns once that is ordered.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn stop(self, name: &str) -> Result<(), SystemdError> {
        let ordered = async {
            let manager = SystemdManagerProxy::new(&Connection::system().await?).await?;
            manager.stop_unit(name, "replace").await
        };
        answer(ordered).await.map(drop)
    }

    /// Whether the machine is going down for an orderly reboot: `reboot.target` is about to be
    /// reached. Not for a power-off, a halt, a kexec or a soft reboot, which have targets of their
    /// own.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn is_rebooting(self) -> Result<bool, SystemdError> {
        answer(is_queued("reboot.target")).await
    }

    /// The state of the unit called `name`, its suffix included.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn unit_state(self, name: &str) -> Result<UnitState, SystemdError> {
        answer(unit_state(name)).await
    }
}

async fn answer<T>(call: impl Future<Output = zbus::Result<T>>) -> Result<T, SystemdError> {
    Ok(timeout(PATIENCE, call)
        .await
        .map_err(|_| SystemdError::Silent)??)
}

/// Whether there is a job for the unit called `name`. Nobody stops a target that the machine goes
/// down by.
async fn is_queued(name: &str) -> zbus::Result<bool> {
    let bus = Connection::system().await?;
    let path = SystemdManagerProxy::new(&bus).await?.load_unit(name).await?;
    let (job, _) = SystemdUnitProxy::at(&bus, path).await?.job().await?;
    Ok(job != 0)
}

async fn unit_state(name: &str) -> zbus::Result<UnitState> {
    let bus = Connection::system().await?;
    // Loaded rather than got: systemd forgets units that nothing refers to.
    let path = SystemdManagerProxy::new(&bus).await?.load_unit(name).await?;
    let unit = SystemdUnitProxy::at(&bus, path).await?;
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
