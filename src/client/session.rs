//! Connection to the bus, and the search for the engine.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use tokio::time::sleep;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::DBusProxy;

use super::Endpoint;
use super::log::Log;
use crate::bus::{SERVICE, UpdateManagerProxy};

/// Number of tries to find the service.
const TRIES: u32 = 4;
/// Pause between two tries.
const RETRY: Duration = Duration::from_secs(10);
/// Time-out of a reply, which is libdbus' own.
const ANSWER: Duration = Duration::from_secs(25);

/// A connection to the bus, or to the engine itself.
pub(super) struct EngineSession {
    connection: Connection,
    log: Log,
}

impl EngineSession {
    /// Connects; logs the reason and returns `None` if that fails.
    pub(super) async fn open(endpoint: &Endpoint, log: Log) -> Option<Self> {
        match connect(endpoint).await {
            Ok(connection) => Some(Self { connection, log }),
            Err(error) => {
                log.error(&format!("Failed to get bus: {error}"));
                None
            }
        }
    }

    /// The engine; logs and returns `None` if it does not appear on the bus.
    pub(super) async fn manager(&self) -> Option<UpdateManagerProxy<'static>> {
        if self.connection.is_bus() {
            persist(self.log, || self.name_owner()).await?;
        }
        match UpdateManagerProxy::new(&self.connection).await {
            Ok(manager) => Some(manager),
            Err(error) => {
                self.log.error(&format!("Giving up -- {error}"));
                None
            }
        }
    }

    async fn name_owner(&self) -> Result<(), zbus::Error> {
        let bus = DBusProxy::new(&self.connection).await?;
        bus.get_name_owner(SERVICE.try_into()?).await?;
        Ok(())
    }
}

pub(super) async fn connect(endpoint: &Endpoint) -> zbus::Result<Connection> {
    let builder = match endpoint {
        Endpoint::SystemBus => Builder::system(),
        Endpoint::Peer(path) => {
            let stream = std::os::unix::net::UnixStream::connect(path)
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            Builder::unix_stream(stream).p2p()
        }
    };
    builder.method_timeout(ANSWER).build().await
}

/// Repeats `look` until it succeeds, [`TRIES`] times at most.
async fn persist<T, E, F>(log: Log, mut look: impl FnMut() -> F) -> Option<T>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    for attempt in 1..=TRIES {
        if attempt > 1 {
            log.info(&format!("Retrying to get dbus proxy. Try {attempt}/{TRIES}"));
            sleep(RETRY).await;
        }
        match look().await {
            Ok(found) => return Some(found),
            Err(error) => log.warning(&format!("Error getting dbus proxy for {SERVICE}: {error}")),
        }
    }
    log.error(&format!("Giving up -- unable to get dbus proxy for {SERVICE}"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const QUIET: Log = Log { minimum: 3 };

    #[tokio::test(start_paused = true)]
    async fn a_missing_service_is_looked_for_four_times_in_thirty_seconds() {
        let (began, mut looks) = (Instant::now(), Vec::new());
        let found = persist(QUIET, || {
            looks.push(began.elapsed().as_secs());
            async { Err::<(), _>("no such name") }
        })
        .await;
        assert_eq!(found, None);
        assert_eq!(looks, [0, 10, 20, 30]);
        assert_eq!(began.elapsed().as_secs(), 30, "no pause after the last look");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_appears_late_is_found() {
        let mut looks = 0;
        let found = persist(QUIET, || {
            looks += 1;
            let outcome = if looks == 3 {
                Ok("engine")
            } else {
                Err("no such name")
            };
            async move { outcome }
        })
        .await;
        assert_eq!(found, Some("engine"));
    }
}
