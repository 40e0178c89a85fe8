//! The object `/com/coreos/update1`: each method is a [`Command`] to the engine and its answer.

use tokio::sync::mpsc;
use zbus::fdo;

use super::StatusFields;
use super::call::Call;
use super::control::{EngineGone, EngineHandle};
use crate::status::Command;

/// The methods of the interface `com.coreos.update1.ManagerObject`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ManagerMethod {
    GetStatus,
    ResetStatus,
    AttemptUpdate,
}

/// Answers calls of these methods, one after the other.
pub(super) struct ManagerObject(pub(super) EngineHandle);

impl ManagerObject {
    /// Returns once no more calls can come and all are answered.
    pub(super) async fn run(self, mut calls: mpsc::UnboundedReceiver<(ManagerMethod, Call)>) {
        while let Some((method, call)) = calls.recv().await {
            match method {
                ManagerMethod::GetStatus => call.answer_or_fail(self.get_status().await).await,
                ManagerMethod::ResetStatus => call.answer_or_fail(self.reset_status().await).await,
                ManagerMethod::AttemptUpdate => call.answer_or_fail(self.attempt_update().await).await,
            }
        }
    }

    async fn get_status(&self) -> fdo::Result<StatusFields> {
        Ok(StatusFields::from(self.0.ask(Command::GetStatus).await?))
    }

    async fn reset_status(&self) -> Result<(), ResetStatusError> {
        if self.0.ask(Command::ResetStatus).await? {
            Ok(())
        } else {
            Err(ResetStatusError::busy())
        }
    }

    async fn attempt_update(&self) -> fdo::Result<()> {
        Ok(self.0.ask(Command::AttemptUpdate).await?)
    }
}

/// The errors of `ResetStatus`.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.DBus")]
enum ResetStatusError {
    /// In the name and words that dbus-glib gave it: clients may match both.
    #[zbus(name = "GLib.ErrorError")]
    Busy(String),
    #[zbus(name = "Error.Failed")]
    Gone(String),
}

impl ResetStatusError {
    fn busy() -> Self {
        Self::Busy("Method invoked for ResetStatus returned FALSE but did not set error".to_owned())
    }
}

impl From<EngineGone> for ResetStatusError {
    fn from(gone: EngineGone) -> Self {
        Self::Gone(gone.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use tokio::sync::mpsc;

    use super::super::broadcaster::Broadcaster;
    use super::*;
    use crate::status::{SnapshotSender, Status};

    #[tokio::test]
    async fn a_reply_waits_for_the_signals_before_it() {
        let (sender, receiver) = SnapshotSender::new();
        let (broadcaster, _admission, barrier) = Broadcaster::new(receiver);
        let (commands, mut asked) = mpsc::channel(1);
        let manager = ManagerObject(EngineHandle { commands, barrier });
        let mut call = pin!(manager.attempt_update());
        let mut poll_call = async || poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;

        assert!(poll_call().await.is_pending(), "the engine has not answered");
        let Some(Command::AttemptUpdate(reply)) = asked.recv().await else {
            panic!("not an attempt");
        };
        sender.statuses.send(Status::default()).unwrap();
        reply.send(()).unwrap();
        assert!(
            poll_call().await.is_pending(),
            "the status has not been signalled"
        );
        tokio::spawn(broadcaster.run());
        call.await.unwrap();
    }

    #[tokio::test]
    async fn an_engine_that_is_gone_is_an_error_and_not_a_hang() {
        let (_outlets, receiver) = SnapshotSender::new();
        let (_announcer, _admission, barrier) = Broadcaster::new(receiver);
        let (commands, asked) = mpsc::channel(1);
        drop(asked);
        let manager = ManagerObject(EngineHandle { commands, barrier });
        assert!(matches!(manager.get_status().await, Err(fdo::Error::Failed(_))));
        assert!(matches!(
            manager.reset_status().await,
            Err(ResetStatusError::Gone(_))
        ));
    }
}
