//! Commands from the bus, and the replies to those that take time.

use tokio::sync::oneshot;

use super::Engine;
use crate::engine::updater::Updater;
use crate::engine::{Event, Phase, SlotError, UnexpectedEvent};
use crate::status::{Command, CommandRefusal};

/// Tells the caller that a command was carried out, or why not.
type ResultSender = oneshot::Sender<Result<(), CommandRefusal>>;

/// The caller of a command that takes time.
pub(super) enum CommandReply {
    /// Hears why it was not carried out.
    WithReason(ResultSender),
    /// Hears whether it was.
    Plain(oneshot::Sender<bool>),
}

impl CommandReply {
    /// A client that has gone needs no answer.
    pub(super) fn send(self, result: Result<(), CommandRefusal>) {
        match self {
            Self::WithReason(reply) => drop(reply.send(result)),
            Self::Plain(reply) => drop(reply.send(result.is_ok())),
        }
    }
}

impl<U: Updater> Engine<U> {
    pub(super) async fn command(&mut self, command: Command) {
        if !matches!(
            command,
            Command::GetStatus(_) | Command::ResetStatus(_) | Command::Withdraw(..)
        ) {
            self.reread_table().await;
        }
        // A client that has gone needs no answer.
        match command {
            Command::AttemptUpdate(reply) => {
                self.handle(Event::AttemptRequested).await;
                let _ = reply.send(());
            }
            Command::ResetStatus(reply) => {
                let is_accepted = self.request(Event::ResetRequested).await.is_ok();
                if is_accepted && matches!(self.state.phase(), Phase::Withdrawing(_)) {
                    self.pending_reply = Some(CommandReply::Plain(reply));
                } else {
                    let _ = reply.send(is_accepted);
                }
            }
            Command::Withdraw(slot, reply) => {
                let event = Event::WithdrawalRequested(slot);
                self.start_or_refuse(event, reply).await;
            }
            Command::Activate(reply) => self.start_or_refuse(Event::ActivateRequested, reply).await,
            Command::RollBack(reply) => self.start_or_refuse(Event::RollbackRequested, reply).await,
            Command::MarkGood(reply) => self.start_or_refuse(Event::MarkGoodRequested, reply).await,
            Command::Cancel(reply) => self.cancel(reply).await,
            Command::Preview(source, reply) => self.preview(source, reply),
            Command::GetStatus(reply) => {
                let _ = reply.send(self.state.status());
            }
        }
    }

    /// Replies with a refusal at once, or once the job is done that the command takes.
    async fn start_or_refuse(&mut self, event: Event, reply: ResultSender) {
        let is_mark = event == Event::MarkGoodRequested;
        let accepted = self.request(event).await;
        let takes_time = is_mark
            || matches!(
                self.state.phase(),
                Phase::Withdrawing(_) | Phase::RollingBack | Phase::Activating(_)
            );
        if accepted.is_ok() && takes_time {
            self.pending_reply = Some(CommandReply::WithReason(reply));
        } else {
            let _ = reply.send(accepted.map_err(CommandRefusal::from));
        }
    }

    /// Answers once it is certain what becomes of the attempt: only its end says whether the cancel
    /// came in time. Between two phases it did: the next one heeds it first, and a server that is
    /// told of them may be silent for long.
    async fn cancel(&mut self, reply: ResultSender) {
        let accepted = if self.cancel_reply.is_some() {
            Err(CommandRefusal::CancelledAlready)
        } else {
            let accepted = self.request(Event::CancelRequested).await;
            accepted.map_err(CommandRefusal::from)
        };
        match accepted {
            Ok(()) if matches!(self.state.phase(), Phase::Announcing | Phase::Downloaded) => {
                let _ = reply.send(Ok(()));
            }
            Ok(()) => self.cancel_reply = Some(CommandReply::WithReason(reply)),
            // A client that has gone needs no answer.
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// The reply that is due after `event`, and what it says.
    pub(super) fn reply_due_after(
        &mut self,
        event: &Event,
    ) -> Option<(CommandReply, Result<(), CommandRefusal>)> {
        let (waiting, result) = match event {
            Event::Withdrawn(result) | Event::Marked(result) | Event::Activated(result) => {
                (&mut self.pending_reply, reply_to(result))
            }
            Event::RolledBack(result) => (&mut self.pending_reply, reply_to(result)),
            Event::Prepared(_) | Event::Downloaded(_) | Event::Finished(Err(_)) => {
                (&mut self.cancel_reply, Ok(()))
            }
            Event::Finished(Ok(_)) => (&mut self.cancel_reply, Err(CommandRefusal::TooLate)),
            _ => return None,
        };
        waiting.take().zip(Some(result))
    }
}

fn reply_to<T>(result: &Result<T, SlotError>) -> Result<(), CommandRefusal> {
    let refused = |error: &SlotError| CommandRefusal::Slots(error.to_string());
    result.as_ref().map(drop).map_err(refused)
}

impl From<UnexpectedEvent> for CommandRefusal {
    fn from(event: UnexpectedEvent) -> Self {
        Self::NotNow(event.to_string())
    }
}
