//! The units of a running systemd with their properties, in the form of `systemctl show`.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use zbus::fdo::PropertiesProxy;
use zbus::proxy::CacheProperties;
use zbus::wire::Variant;
use zbus::{Connection, OwnedObjectPath};

use super::manager::{ReloadingStream, SERVICE, SystemdError, SystemdManagerProxy};

/// The interface of all units.
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface of services.
const SERVICE_UNIT: &str = "org.freedesktop.systemd1.Service";

/// One row of the list of loaded units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUnit {
    /// Its name, with its suffix.
    pub name: String,
    /// `LoadState`.
    pub load: String,
    /// `ActiveState`.
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// Number of the job that is queued or runs for it; 0 for none.
    pub job: u32,
    path: OwnedObjectPath,
}

/// A connection on which systemd is asked for its units. None of its calls ends by itself if
/// systemd hangs.
#[derive(Debug, Clone)]
pub struct UnitReader {
    bus: Connection,
    manager: SystemdManagerProxy<'static>,
}

impl UnitReader {
    /// Connects to the system bus.
    ///
    /// # Errors
    /// If there is no bus.
    pub async fn open() -> Result<Self, SystemdError> {
        let bus = Connection::system().await?;
        let manager = SystemdManagerProxy::builder(&bus)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        Ok(Self { bus, manager })
    }

    /// The state of the system as a whole: `starting`, `running`, `degraded`, `stopping` …
    ///
    /// # Errors
    /// If systemd doesn't say.
    pub async fn system_state(&self) -> Result<String, SystemdError> {
        Ok(self.manager.system_state().await?)
    }

    /// All units that are loaded.
    ///
    /// # Errors
    /// If systemd doesn't say.
    pub async fn list(&self) -> Result<Vec<ListedUnit>, SystemdError> {
        let rows = self.manager.list_units().await?.into_iter();
        let units = rows.map(|(name, _, load, active, sub, _, path, job, _, _)| ListedUnit {
            name,
            load,
            active,
            sub,
            job,
            path,
        });
        Ok(units.collect())
    }

    /// Properties of a unit that is listed.
    ///
    /// # Errors
    /// If systemd doesn't say.
    pub async fn properties(&self, unit: &ListedUnit) -> Result<BTreeMap<String, String>, SystemdError> {
        Ok(self.read(&unit.path, UNIT).await?)
    }

    /// Properties of the unit called `name`, those of a service included. It is loaded if it isn't:
    /// systemd forgets units that nothing refers to.
    ///
    /// # Errors
    /// If systemd doesn't say.
    pub async fn all_properties(&self, name: &str) -> Result<BTreeMap<String, String>, SystemdError> {
        let path = self.manager.load_unit(name).await?;
        let mut properties = self.read(&path, UNIT).await?;
        if name.ends_with(".service") {
            properties.extend(self.read(&path, SERVICE_UNIT).await?);
        }
        Ok(properties)
    }

    /// How often systemd has restarted a service that is listed by itself.
    ///
    /// # Errors
    /// If systemd doesn't say, or it is no service.
    pub async fn restarts(&self, unit: &ListedUnit) -> Result<u32, SystemdError> {
        let restarts = async {
            let properties = self.proxy(&unit.path).await?;
            let value = properties.get(SERVICE_UNIT.try_into()?, "NRestarts").await?;
            value.try_into()
        };
        let restarts: zbus::Result<u32> = restarts.await;
        Ok(restarts?)
    }

    /// One item for each beginning and end of a reload of systemd.
    ///
    /// # Errors
    /// If systemd or the bus refuses.
    pub async fn reloads(&self) -> Result<Reloads, SystemdError> {
        let signals = self.manager.receive_reloading().await?;
        self.manager.subscribe().await?;
        Ok(Reloads(signals))
    }

    async fn proxy(&self, path: &OwnedObjectPath) -> zbus::Result<PropertiesProxy<'static>> {
        PropertiesProxy::builder(&self.bus)
            .destination(SERVICE)
            .path(path.clone())
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }

    async fn read(
        &self,
        path: &OwnedObjectPath,
        interface: &'static str,
    ) -> zbus::Result<BTreeMap<String, String>> {
        let properties = self.proxy(path).await?;
        let all = properties.get_all(interface.try_into()?).await?;
        let texts = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, text(&value)?)));
        Ok(texts.collect())
    }
}

/// The reloads of systemd, as they come.
#[derive(Debug)]
pub struct Reloads(ReloadingStream);

impl Reloads {
    /// Waits for the end of the next reload; `false` if the bus has gone.
    pub async fn next(&mut self) -> bool {
        while let Some(signal) = self.0.next().await {
            if signal.args().is_ok_and(|arguments| !arguments.active) {
                return true;
            }
        }
        false
    }
}

/// A value as `systemctl show` prints it: lists of words with blanks between them; of a structure,
/// such as a job or a command, its first field.
fn text(value: &Variant<'_>) -> Option<String> {
    Some(match value {
        Variant::Str(text) => text.as_str().to_owned(),
        Variant::ObjectPath(path) => path.as_str().to_owned(),
        Variant::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Variant::I32(number) => number.to_string(),
        Variant::U32(number) => number.to_string(),
        Variant::I64(number) => number.to_string(),
        Variant::U64(number) => number.to_string(),
        Variant::Structure(fields) => text(fields.fields().first()?)?,
        Variant::Array(items) if matches!(items.first(), Some(Variant::Structure(_))) => {
            text(items.first()?)?
        }
        Variant::Array(items) => {
            let words: Option<Vec<String>> = items.iter().map(text).collect();
            words?.join(" ")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_systemctl_tells_them() {
        let cases = [
            (Variant::from("loaded"), Some("loaded")),
            (Variant::from(true), Some("yes")),
            (Variant::from(false), Some("no")),
            (Variant::from(203_i32), Some("203")),
            (Variant::from(7_u64), Some("7")),
            (Variant::from(vec!["/a", "/b"]), Some("/a /b")),
            (Variant::from(Vec::<String>::new()), Some("")),
            (Variant::from((77_u32, "/job/77")), Some("77")),
            (Variant::from(vec![("/bin/a", false)]), Some("/bin/a")),
            (Variant::from(1.5_f64), None),
        ];
        for (value, expected) in cases {
            assert_eq!(text(&value).as_deref(), expected, "{value:?}");
        }
    }
}
