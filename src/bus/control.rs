//! Control requests to the engine through our own interfaces, the errors that refuse them, and the
//! handle by which all objects send commands.
//!
//! `Engine1` takes them from callers that the bus lets through; `Control1` takes the same from
//! callers that polkit allows.

use tokio::sync::{mpsc, oneshot};
use zbus::fdo;

use super::broadcaster::Barrier;
use super::polkit::PolkitAction;
use super::properties::{Dictionary, dictionary};
use crate::status::{Command, CommandRefusal, OfferSource, WaitingSlot};

/// The handle to the engine.
#[derive(Clone)]
pub(super) struct EngineHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) barrier: Barrier,
}

impl EngineHandle {
    /// Sends `command` and returns the engine's answer, once the statuses that it published before
    /// are signalled.
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, EngineGone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| EngineGone)?;
        let answer = answer.await.map_err(|_| EngineGone)?;
        self.barrier.flush().await;
        Ok(answer)
    }
}

/// The engine's task has ended: the process is about to.
#[derive(Debug, thiserror::Error)]
#[error("the update engine is shutting down")]
pub(super) struct EngineGone;

impl From<EngineGone> for fdo::Error {
    fn from(gone: EngineGone) -> Self {
        Self::Failed(gone.to_string())
    }
}

/// A request that changes what the engine does, or asks what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlRequest {
    /// Check now and install what is offered; carried out as soon as that has begun. Nothing to do
    /// is fine.
    Check,
    /// Say what would come of an offer: looks at everything, changes nothing. The server may count
    /// an offer that it is asked for as granted.
    Preview(OfferSource),
    /// Take back that an update or a rollback waits for the reboot.
    Reset(WaitingSlot),
    /// Make the staged update the next to boot.
    Activate,
    /// Make the other slot the next to boot, if it was marked good and not touched since.
    RollBack,
    /// Break off the update that is under way; it can be taken up again from where it was.
    Cancel,
    /// Mark the running slot good and put it first, whatever its health.
    MarkGood,
}

impl ControlRequest {
    /// The action that polkit is asked about.
    pub(super) const fn action(self) -> PolkitAction {
        match self {
            // What it costs at the server is what a check costs.
            Self::Check | Self::Preview(OfferSource::Server) => PolkitAction::Check,
            Self::Preview(OfferSource::LastCheck) => PolkitAction::Preview,
            Self::Reset(_) => PolkitAction::Reset,
            Self::Activate => PolkitAction::Activate,
            Self::RollBack => PolkitAction::RollBack,
            Self::Cancel => PolkitAction::Cancel,
            Self::MarkGood => PolkitAction::MarkGood,
        }
    }
}

/// Carries control requests out, once they are allowed.
#[derive(Clone)]
pub(super) struct Control(pub(super) EngineHandle);

impl Control {
    /// Carries `request` out; returns the preview if it asks for one.
    pub(super) async fn carry_out(
        &self,
        request: ControlRequest,
    ) -> Result<Option<Dictionary>, ControlError> {
        match request {
            ControlRequest::Check => self.0.ask(Command::AttemptUpdate).await?,
            ControlRequest::Preview(source) => return self.preview(source).await.map(Some),
            ControlRequest::Reset(slot) => self.command(|reply| Command::Withdraw(slot, reply)).await?,
            ControlRequest::Activate => self.command(Command::Activate).await?,
            ControlRequest::RollBack => self.command(Command::RollBack).await?,
            ControlRequest::Cancel => self.command(Command::Cancel).await?,
            ControlRequest::MarkGood => self.command(Command::MarkGood).await?,
        }
        Ok(None)
    }

    async fn preview(&self, source: OfferSource) -> Result<Dictionary, ControlError> {
        let preview = self.0.ask(|reply| Command::Preview(source, reply)).await?;
        Ok(dictionary(preview?))
    }

    async fn command(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), CommandRefusal>>) -> Command,
    ) -> Result<(), ControlError> {
        Ok(self.0.ask(command).await??)
    }
}

/// The errors that refuse a control request, each with a sentence. Those that D-Bus has a name for
/// have that name.
#[derive(Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org")]
pub(super) enum ControlError {
    /// The engine refuses, and says why.
    #[zbus(name = "updateengine.Error.Refused")]
    Refused(String),
    /// The caller is not allowed to.
    #[zbus(name = "freedesktop.DBus.Error.AccessDenied")]
    Denied(String),
    /// polkit wants a password, and the caller didn't set `ALLOW_INTERACTIVE_AUTHORIZATION`.
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    PasswordNeeded(String),
    /// The engine has ended.
    #[zbus(name = "freedesktop.DBus.Error.Failed")]
    Gone(String),
}

impl From<CommandRefusal> for ControlError {
    fn from(refusal: CommandRefusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

impl From<EngineGone> for ControlError {
    fn from(gone: EngineGone) -> Self {
        Self::Gone(gone.to_string())
    }
}
