//! What can be ordered of the engine through our own interfaces, and why an order is not carried out.

use tokio::sync::oneshot;

use super::desk::{Desk, EngineGone};
use super::record::{Record, record};
use super::{Command, OfferSource, WaitingSlot};

/// Carries orders out, whoever gives them.
#[derive(Clone)]
pub(super) struct Orders(pub(super) Desk);

impl Orders {
    pub(super) async fn check(&self) -> Result<(), OrderError> {
        Ok(self.0.ask(Command::AttemptUpdate).await?)
    }

    pub(super) async fn preview(&self, source: OfferSource) -> Result<Record, OrderError> {
        let preview = self.0.ask(|reply| Command::Preview(source, reply)).await?;
        preview.map(record).map_err(OrderError::Refused)
    }

    pub(super) async fn reset(&self, withdraw_slot: bool) -> Result<(), OrderError> {
        let slot = if withdraw_slot {
            WaitingSlot::Unbootable
        } else {
            WaitingSlot::Kept
        };
        self.order(|reply| Command::Withdraw(slot, reply)).await
    }

    pub(super) async fn roll_back(&self) -> Result<(), OrderError> {
        self.order(Command::RollBack).await
    }

    pub(super) async fn cancel(&self) -> Result<(), OrderError> {
        self.order(Command::Cancel).await
    }

    pub(super) async fn mark_good(&self) -> Result<(), OrderError> {
        self.order(Command::MarkGood).await
    }

    async fn order(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command,
    ) -> Result<(), OrderError> {
        self.0.ask(command).await?.map_err(OrderError::Refused)
    }
}

/// Why an order was not carried out, in a sentence. What is not ours to name has D-Bus's own name.
#[derive(Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org")]
pub(super) enum OrderError {
    /// The engine says why.
    #[zbus(name = "updateengine.Error.Refused")]
    Refused(String),
    /// The caller may not give it.
    #[zbus(name = "freedesktop.DBus.Error.AccessDenied")]
    Denied(String),
    /// The caller might, if somebody could be asked for a password.
    #[zbus(name = "freedesktop.DBus.Error.InteractiveAuthorizationRequired")]
    PasswordNeeded(String),
    /// The engine ends.
    #[zbus(name = "freedesktop.DBus.Error.Failed")]
    Gone(String),
}

impl From<EngineGone> for OrderError {
    fn from(gone: EngineGone) -> Self {
        Self::Gone(gone.to_string())
    }
}
