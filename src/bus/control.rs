//! Control requests to the engine through our own interfaces, and the errors that refuse them.
//!
//! `Engine1` takes orders from whom the bus lets call it; `Control1` takes the same from whom polkit lets give them.

use tokio::sync::oneshot;

use super::engine_handle::{EngineGone, EngineHandle};
use super::polkit::Action;
use super::record::{Record, record};
use crate::status::{Command, OfferSource, WaitingSlot};

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlRequest {
    /// Check now and install what is offered; carried out as soon as that has begun. Nothing to do is fine.
    Check,
    /// Say what would come of an offer: looks at everything, changes nothing. The server may count an offer that it is
    /// asked for as granted.
    Preview(OfferSource),
    /// Take back that an update or a rollback waits for the reboot.
    Reset(WaitingSlot),
    /// Make the other slot the next to boot, if it was marked good and not touched since.
    RollBack,
    /// Break off the update that is under way; it can be taken up again from where it was.
    Cancel,
    /// Mark the running slot good and put it first, whatever its health.
    MarkGood,
}

impl ControlRequest {
    /// What polkit is asked about.
    pub(super) const fn action(self) -> Action {
        match self {
            // What it costs at the server is what a check costs.
            Self::Check | Self::Preview(OfferSource::Server) => Action::Check,
            Self::Preview(OfferSource::LastCheck) => Action::Preview,
            Self::Reset(_) => Action::Reset,
            Self::RollBack => Action::RollBack,
            Self::Cancel => Action::Cancel,
            Self::MarkGood => Action::MarkGood,
        }
    }
}

/// Carries orders out, whoever gives them.
#[derive(Clone)]
pub(super) struct Control(pub(super) EngineHandle);

impl Control {
    /// Has `order` carried out; gives what it was to find out, if anything.
    pub(super) async fn give(&self, order: ControlRequest) -> Result<Option<Record>, ControlError> {
        match order {
            ControlRequest::Check => self.0.ask(Command::AttemptUpdate).await?,
            ControlRequest::Preview(source) => return self.preview(source).await.map(Some),
            ControlRequest::Reset(slot) => self.order(|reply| Command::Withdraw(slot, reply)).await?,
            ControlRequest::RollBack => self.order(Command::RollBack).await?,
            ControlRequest::Cancel => self.order(Command::Cancel).await?,
            ControlRequest::MarkGood => self.order(Command::MarkGood).await?,
        }
        Ok(None)
    }

    async fn preview(&self, source: OfferSource) -> Result<Record, ControlError> {
        let preview = self.0.ask(|reply| Command::Preview(source, reply)).await?;
        preview.map(record).map_err(ControlError::Refused)
    }

    async fn order(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command,
    ) -> Result<(), ControlError> {
        self.0.ask(command).await?.map_err(ControlError::Refused)
    }
}

/// Why an order was not carried out, in a sentence. What is not ours to name has D-Bus's own name.
#[derive(Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org")]
pub(super) enum ControlError {
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

impl From<EngineGone> for ControlError {
    fn from(gone: EngineGone) -> Self {
        Self::Gone(gone.to_string())
    }
}
