//! Connection to the engine, with errors that name a remedy; and the agent by which polkit asks for a
//! password at the terminal of the command.

use std::io::IsTerminal as _;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use zbus::{Connection, DBusError as _};

use super::Exit;
use crate::bus::{Control1Proxy, Engine1Proxy, UpdateManagerProxy};
use crate::client::{Endpoint, session};
use crate::host::Unreadable;
use crate::journal::chain;
use crate::status::{AttemptReport, Diagnostics, EngineState, HealthReport, OfferSource, Overview, Preview};

/// Error of a command.
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
    #[error(
        "not allowed{}\nTry it as root, or as a member of the group update-engine.",
        why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    Denied {
        /// Message of the bus or the engine.
        why: Option<String>,
    },
    #[error("refused: {0}")]
    Refused(String),
    #[error(
        "refused: {0}\nTry again when that has ended: update_engine_client status --watch. An update is broken off by: \
         update_engine_client cancel"
    )]
    Busy(String),
    #[error("{}", chain(_0))]
    Config(#[from] Unreadable),
    #[error("the engine does not answer as it should: {0}\nLook at: journalctl -u update-engine")]
    Other(zbus::Error),
}

impl RemoteError {
    pub(super) const fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) | Self::Busy(_) | Self::Config(_) => Exit::Refused,
            Self::Denied { .. } => Exit::Denied,
            _ => Exit::Unreachable,
        }
    }
}

impl From<zbus::Error> for RemoteError {
    fn from(error: zbus::Error) -> Self {
        let known = match &error {
            zbus::Error::MethodError(name, text, _) => by_name(name.as_str(), text.clone()),
            zbus::Error::FDO(error) => by_name(error.name().as_str(), error.description().map(str::to_owned)),
            zbus::Error::IncorrectType => Some(Self::OtherVersion),
            _ => None,
        };
        known.unwrap_or(Self::Other(error))
    }
}

fn by_name(name: &str, text: Option<String>) -> Option<RemoteError> {
    if name == "org.updateengine.Error.Refused" {
        return Some(RemoteError::Refused(text.unwrap_or_default()));
    }
    match name.strip_prefix("org.freedesktop.DBus.Error.")? {
        "ServiceUnknown" | "NameHasNoOwner" => Some(RemoteError::NotRunning),
        "AccessDenied" | "InteractiveAuthorizationRequired" => Some(RemoteError::Denied { why: text }),
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

    pub(super) async fn health(&self) -> Result<HealthReport, RemoteError> {
        Ok(HealthReport::read(&self.connection).await?)
    }

    /// Output of failed units and checks, if this user may read it.
    pub(super) async fn diagnostics(&self) -> Option<Diagnostics> {
        Diagnostics::read(&self.connection).await.ok()
    }

    /// Starts a check; for a user who may only use the original's interface, such as the account
    /// `core`, by that one.
    pub(super) async fn check(&self) -> Result<(), RemoteError> {
        let check = self.engine().await?.check().await.map_err(RemoteError::from);
        let attempt = async || {
            UpdateManagerProxy::new(&self.connection)
                .await?
                .attempt_update()
                .await
        };
        let checked = unless_denied(check, attempt).await;
        self.order(checked, async || self.orders().await?.check().await)
            .await
    }

    pub(super) async fn preview(&self, source: OfferSource) -> Result<Preview, RemoteError> {
        let preview = Preview::ask(&self.connection, source).await;
        let by_polkit = async || Preview::ask_by_polkit(&self.connection, source).await;
        self.order(preview.map_err(RemoteError::from), by_polkit).await
    }

    pub(super) async fn reset(&self, withdraw_slot: bool) -> Result<(), RemoteError> {
        let reset = self.engine().await?.reset(withdraw_slot).await;
        let by_polkit = async || self.orders().await?.reset(withdraw_slot).await;
        self.order(reset.map_err(RemoteError::from), by_polkit).await
    }

    pub(super) async fn activate(&self) -> Result<(), RemoteError> {
        let done = self.engine().await?.activate().await;
        let by_polkit = async || self.orders().await?.activate().await;
        self.order(done.map_err(RemoteError::from), by_polkit).await
    }

    pub(super) async fn roll_back(&self) -> Result<(), RemoteError> {
        let done = self.engine().await?.roll_back().await;
        let by_polkit = async || self.orders().await?.roll_back().await;
        self.order(done.map_err(RemoteError::from), by_polkit).await
    }

    pub(super) async fn cancel(&self) -> Result<(), RemoteError> {
        let done = self.engine().await?.cancel().await;
        let by_polkit = async || self.orders().await?.cancel().await;
        match self.order(done.map_err(RemoteError::from), by_polkit).await {
            // To try again later is no help here.
            Err(RemoteError::Busy(why)) => Err(RemoteError::Refused(why)),
            outcome => outcome,
        }
    }

    pub(super) async fn mark_good(&self) -> Result<(), RemoteError> {
        let done = self.engine().await?.mark_good().await;
        let by_polkit = async || self.orders().await?.mark_good().await;
        self.order(done.map_err(RemoteError::from), by_polkit).await
    }

    /// Sends a command, by the object that polkit guards if the bus denies the other. Retries while
    /// another command is under way.
    async fn order<T>(
        &self,
        done: Result<T, RemoteError>,
        by_polkit: impl AsyncFnOnce() -> zbus::Result<T>,
    ) -> Result<T, RemoteError> {
        let with_agent = async || {
            let agent = TerminalAgent::start().await;
            let done = by_polkit().await;
            if let Some(agent) = agent {
                agent.end().await;
            }
            done
        };
        match unless_denied(done, with_agent).await {
            Err(RemoteError::Refused(why)) if self.is_busy().await => Err(RemoteError::Busy(why)),
            outcome => outcome,
        }
    }

    async fn is_busy(&self) -> bool {
        let resting = [
            EngineState::Idle,
            EngineState::RebootNeeded,
            EngineState::Staged,
            EngineState::StagedForReboot,
            EngineState::RollbackNeeded,
        ];
        let overview = self.overview().await;
        overview.is_ok_and(|overview| !resting.contains(&overview.state))
    }

    async fn engine(&self) -> zbus::Result<Engine1Proxy<'static>> {
        Engine1Proxy::new(&self.connection).await
    }

    /// The object that polkit guards, for users to whom the bus denies the methods of
    /// [`Self::engine`].
    async fn orders(&self) -> zbus::Result<Control1Proxy<'static>> {
        Control1Proxy::new(&self.connection).await
    }
}

/// Result of `done`, or of `otherwise` if that was denied. An engine or a bus policy of another
/// version, which knows no other way, denies it as before.
async fn unless_denied<T>(
    done: Result<T, RemoteError>,
    otherwise: impl AsyncFnOnce() -> zbus::Result<T>,
) -> Result<T, RemoteError> {
    match done {
        Err(RemoteError::Denied { .. }) => match otherwise().await.map_err(RemoteError::from) {
            Err(RemoteError::OtherVersion) => Err(RemoteError::Denied { why: None }),
            outcome => outcome,
        },
        done => done,
    }
}

/// Time that the agent gets to restore the terminal.
const PATIENCE: Duration = Duration::from_secs(2);

/// polkit's own agent for terminals, which asks on behalf of this process.
struct TerminalAgent(Child);

impl TerminalAgent {
    /// Starts it, unless there is no terminal or no polkit; an agent of the session, a desktop's,
    /// asks then. Returns once polkit knows of it.
    pub(super) async fn start() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let mut agent = Command::new("pkttyagent")
            // It asks at the terminal itself, and closes its output once polkit knows of it.
            .args(["--notify-fd", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        // Its end, too, ends the wait.
        let _ = agent.stdout.take()?.read_to_end(&mut Vec::new()).await;
        Some(Self(agent))
    }

    /// Ends it. It may still be waiting for a password: if killed, it would leave the terminal
    /// without echo.
    pub(super) async fn end(mut self) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            let _ = timeout(PATIENCE, self.0.wait()).await;
        }
    }
}
