//! The engine behind the bus, and what to do when it isn't there.

use zbus::{Connection, fdo};

use super::Exit;
use crate::bus::{AttemptReport, Engine1Proxy, Evidence, ManagerProxy, Overview, Preview};
use crate::client::{Endpoint, session};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(
        "cannot reach the message bus: {0}\nIs dbus running? An engine without a bus is reached by --bus-peer SOCKET."
    )]
    NoBus(zbus::Error),
    #[error("cannot connect to {socket}: {source}\nDoes the engine run with -bus_peer {socket}?")]
    NoPeer { socket: String, source: zbus::Error },
    #[error(
        "the update engine is not running\nLook at: systemctl status update-engine; journalctl -u update-engine"
    )]
    NotRunning,
    #[error(
        "the engine that runs does not know this command: it is another version, or the original\nRestart it \
         (systemctl restart update-engine), or use the flags: update_engine_client -status"
    )]
    OtherVersion,
    #[error("not allowed\nTry it as root, or as a member of the group update-engine.")]
    Denied,
    #[error("refused: {0}")]
    Refused(String),
    #[error("the engine does not answer as it should: {0}\nLook at: journalctl -u update-engine")]
    Other(zbus::Error),
}

impl RemoteError {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Denied => Exit::Denied,
            _ => Exit::Unreachable,
        }
    }
}

impl From<zbus::Error> for RemoteError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, message) => match name.as_str() {
                "org.updateengine.Error.Refused" => Self::Refused(text.unwrap_or_default()),
                _ => by_name(name.as_str())
                    .unwrap_or(Self::Other(zbus::Error::MethodError(name, text, message))),
            },
            zbus::Error::FDO(error) => {
                let known = match &*error {
                    fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Some(Self::NotRunning),
                    fdo::Error::AccessDenied(_) => Some(Self::Denied),
                    fdo::Error::UnknownObject(_)
                    | fdo::Error::UnknownInterface(_)
                    | fdo::Error::UnknownMethod(_)
                    | fdo::Error::UnknownProperty(_) => Some(Self::OtherVersion),
                    _ => None,
                };
                known.unwrap_or(Self::Other(zbus::Error::FDO(error)))
            }
            zbus::Error::IncorrectType => Self::OtherVersion,
            other => Self::Other(other),
        }
    }
}

fn by_name(name: &str) -> Option<RemoteError> {
    match name.strip_prefix("org.freedesktop.DBus.Error.")? {
        "ServiceUnknown" | "NameHasNoOwner" => Some(RemoteError::NotRunning),
        "AccessDenied" => Some(RemoteError::Denied),
        "UnknownObject" | "UnknownInterface" | "UnknownMethod" | "UnknownProperty" => {
            Some(RemoteError::OtherVersion)
        }
        _ => None,
    }
}

/// A connection to the engine.
pub(super) struct Remote {
    pub(super) connection: Connection,
}

impl Remote {
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Self, RemoteError> {
        match session::connect(endpoint).await {
            Ok(connection) => Ok(Self { connection }),
            Err(error) => Err(match endpoint {
                Endpoint::SystemBus => RemoteError::NoBus(error),
                Endpoint::Peer(path) => RemoteError::NoPeer {
                    socket: path.display().to_string(),
                    source: error,
                },
            }),
        }
    }

    pub(super) async fn overview(&self) -> Result<Overview, RemoteError> {
        Ok(Overview::read(&self.connection).await?)
    }

    pub(super) async fn attempts(&self) -> Result<Vec<AttemptReport>, RemoteError> {
        Ok(AttemptReport::read_all(&self.connection).await?)
    }

    pub(super) async fn preview(&self) -> Result<Preview, RemoteError> {
        Ok(Preview::ask(&self.connection).await?)
    }

    /// What programs said, if this user may read that.
    pub(super) async fn evidence(&self) -> Option<Evidence> {
        Evidence::read(&self.connection).await.ok()
    }

    pub(super) async fn engine(&self) -> Result<Engine1Proxy<'static>, RemoteError> {
        Ok(Engine1Proxy::new(&self.connection).await?)
    }

    /// Starts a check. Who may only use the original's interface, such as the account `core`, does it there.
    pub(super) async fn check(&self) -> Result<(), RemoteError> {
        match self.engine().await?.check().await.map_err(RemoteError::from) {
            Err(RemoteError::Denied) => {
                let manager = ManagerProxy::new(&self.connection).await?;
                Ok(manager.attempt_update().await?)
            }
            done => done,
        }
    }
}
