//! Client-side proxies of the interfaces.

use std::collections::HashMap;

use zbus::Connection;
use zbus::fdo::PropertiesProxy;
use zbus::proxy::CacheProperties;
use zbus::wire::{OwnedVariant, Variant};

use super::properties::{ATTEMPTS, HEALTH};
use super::{DIAGNOSTICS_INTERFACE, DIAGNOSTICS_PATH, ENGINE_INTERFACE, ENGINE_PATH, SERVICE};
use crate::status::{AttemptReport, Diagnostics, HealthReport, OfferSource, Overview, Preview, Status};

/// The five fields as they travel: D-Bus types `x d s s x`. Reboot managers stop working on any
/// other.
pub type StatusFields = (i64, f64, String, String, i64);

impl From<Status> for StatusFields {
    fn from(status: Status) -> Self {
        (
            status.last_checked_time,
            status.progress,
            status.operation.as_str().to_owned(),
            status.new_version,
            status.new_size,
        )
    }
}

/// `com.coreos.update1.Manager`, as its clients see it.
#[zbus::proxy(
    interface = "com.coreos.update1.Manager",
    default_service = "com.coreos.update1",
    default_path = "/com/coreos/update1"
)]
pub trait UpdateManager {
    /// Returns the status.
    fn get_status(&self) -> zbus::Result<StatusFields>;

    /// Back to idle after an update that waits for its reboot; an error while busy.
    fn reset_status(&self) -> zbus::Result<()>;

    /// Checks now, and installs what is offered.
    fn attempt_update(&self) -> zbus::Result<()>;

    /// Every change of the status.
    #[zbus(signal)]
    fn status_update(
        &self,
        last_checked_time: i64,
        progress: f64,
        current_operation: String,
        new_version: String,
        new_size: i64,
    ) -> zbus::Result<()>;
}

/// The methods of `org.updateengine.Engine1`, as its clients see them; its properties are read
/// together, by [`Overview::read`].
#[zbus::proxy(
    interface = "org.updateengine.Engine1",
    default_service = "com.coreos.update1",
    default_path = "/org/updateengine/Engine1"
)]
pub trait Engine1 {
    /// Checks now, and installs what is offered.
    fn check(&self) -> zbus::Result<()>;

    /// Previews the last check's offer.
    fn preview(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;

    /// Previews the offer that the server makes now.
    fn preview_asking(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;

    /// Withdraws what waits for the reboot.
    fn reset(&self, withdraw_slot: bool) -> zbus::Result<()>;

    /// Makes the staged update the next to boot.
    fn activate(&self) -> zbus::Result<()>;

    /// Makes the other slot the next to boot.
    fn roll_back(&self) -> zbus::Result<()>;

    /// Breaks off the update under way.
    fn cancel(&self) -> zbus::Result<()>;

    /// Marks the running slot good and puts it first.
    fn mark_good(&self) -> zbus::Result<()>;
}

/// `org.updateengine.Control1`, as its clients see it: the methods of [`Engine1Proxy`], for callers
/// that polkit allows. polkit may ask the user for a password meanwhile.
#[zbus::proxy(
    interface = "org.updateengine.Control1",
    default_service = "com.coreos.update1",
    default_path = "/org/updateengine/Engine1/Control"
)]
pub trait Control1 {
    /// Checks now, and installs what is offered.
    #[zbus(allow_interactive_auth)]
    fn check(&self) -> zbus::Result<()>;

    /// Previews the last check's offer.
    #[zbus(allow_interactive_auth)]
    fn preview(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;

    /// Previews the offer that the server makes now.
    #[zbus(allow_interactive_auth)]
    fn preview_asking(&self) -> zbus::Result<HashMap<String, OwnedVariant>>;

    /// Withdraws what waits for the reboot.
    #[zbus(allow_interactive_auth)]
    fn reset(&self, withdraw_slot: bool) -> zbus::Result<()>;

    /// Makes the staged update the next to boot.
    #[zbus(allow_interactive_auth)]
    fn activate(&self) -> zbus::Result<()>;

    /// Makes the other slot the next to boot.
    #[zbus(allow_interactive_auth)]
    fn roll_back(&self) -> zbus::Result<()>;

    /// Breaks off the update under way.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self) -> zbus::Result<()>;

    /// Marks the running slot good and puts it first.
    #[zbus(allow_interactive_auth)]
    fn mark_good(&self) -> zbus::Result<()>;
}

impl Overview {
    /// Asks the engine at `connection`.
    ///
    /// # Errors
    /// If it doesn't answer, or is one that has no such interface.
    pub async fn read(connection: &Connection) -> zbus::Result<Self> {
        let properties = properties(connection, ENGINE_PATH).await?;
        let all = properties.get_all(ENGINE_INTERFACE.try_into()?).await?;
        Self::try_from(Variant::from(all))
    }
}

impl Preview {
    /// Asks the engine at `connection`.
    ///
    /// # Errors
    /// If it doesn't answer, refuses, or is one that has no such method.
    pub async fn ask(connection: &Connection, source: OfferSource) -> zbus::Result<Self> {
        let engine = Engine1Proxy::new(connection).await?;
        Self::received(match source {
            OfferSource::LastCheck => engine.preview().await?,
            OfferSource::Server => engine.preview_asking().await?,
        })
    }

    /// Asks the engine at `connection` by [`Control1Proxy`].
    ///
    /// # Errors
    /// As [`Preview::ask`].
    pub async fn ask_by_polkit(connection: &Connection, source: OfferSource) -> zbus::Result<Self> {
        let control = Control1Proxy::new(connection).await?;
        Self::received(match source {
            OfferSource::LastCheck => control.preview().await?,
            OfferSource::Server => control.preview_asking().await?,
        })
    }

    fn received(dictionary: HashMap<String, OwnedVariant>) -> zbus::Result<Self> {
        Self::try_from(Variant::from(dictionary))
    }
}

impl AttemptReport {
    /// Asks the engine at `connection` for the last ones, oldest first.
    ///
    /// # Errors
    /// If it doesn't answer, or is one that keeps no history.
    pub async fn read_all(connection: &Connection) -> zbus::Result<Vec<Self>> {
        let properties = properties(connection, ENGINE_PATH).await?;
        let attempts = properties.get(ENGINE_INTERFACE.try_into()?, ATTEMPTS).await?;
        attempts.try_into()
    }
}

impl HealthReport {
    /// Asks the engine at `connection`.
    ///
    /// # Errors
    /// If it doesn't answer, or is one that has no such gate.
    pub async fn read(connection: &Connection) -> zbus::Result<Self> {
        let properties = properties(connection, ENGINE_PATH).await?;
        let health = properties.get(ENGINE_INTERFACE.try_into()?, HEALTH).await?;
        let fields: HashMap<String, OwnedVariant> = health.try_into()?;
        Self::try_from(Variant::from(fields))
    }
}

impl Diagnostics {
    /// Asks the engine at `connection`.
    ///
    /// # Errors
    /// If it doesn't answer, or the bus doesn't let this user ask.
    pub async fn read(connection: &Connection) -> zbus::Result<Self> {
        let properties = properties(connection, DIAGNOSTICS_PATH).await?;
        let output = properties
            .get(DIAGNOSTICS_INTERFACE.try_into()?, "RollbackOutput")
            .await?;
        Ok(Self {
            rollback_output: output.try_into()?,
        })
    }
}

async fn properties(connection: &Connection, path: &'static str) -> zbus::Result<PropertiesProxy<'static>> {
    PropertiesProxy::builder(connection)
        .destination(SERVICE)
        .path(path)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}
