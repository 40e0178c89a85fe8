//! The handle to the engine: sends commands, and waits at a barrier until what they caused is
//! signalled.

use tokio::sync::{mpsc, oneshot};
use zbus::fdo;

use super::broadcaster::Barrier;
use crate::status::Command;

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
