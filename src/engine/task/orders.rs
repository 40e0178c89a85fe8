//! What others want of the engine, and when they hear what became of it.

use tokio::sync::oneshot;

use super::Engine;
use crate::engine::updater::Updater;
use crate::engine::{Event, Phase};
use crate::status::Command;

/// Who gave an order hears that it was carried out, or why not.
pub(super) type OrderReply = oneshot::Sender<Result<(), String>>;

impl<U: Updater> Engine<U> {
    pub(super) async fn command(&mut self, command: Command) {
        if !matches!(
            command,
            Command::GetStatus(_) | Command::ResetStatus(_) | Command::Withdraw(..)
        ) {
            self.look_at_table().await;
        }
        // A client that has gone needs no answer.
        match command {
            Command::AttemptUpdate(reply) => {
                self.handle(Event::AttemptRequested).await;
                let _ = reply.send(());
            }
            Command::ResetStatus(reply) => {
                let _ = reply.send(self.request(Event::ResetRequested).await.is_ok());
            }
            Command::Withdraw(slot, reply) => self.order(Event::WithdrawalRequested(slot), reply).await,
            Command::RollBack(reply) => self.order(Event::RollbackRequested, reply).await,
            Command::MarkGood(reply) => self.order(Event::MarkGoodRequested, reply).await,
            Command::Cancel(reply) => self.cancel(reply).await,
            Command::Preview(source, reply) => self.preview(source, reply),
            Command::GetStatus(reply) => {
                let _ = reply.send(self.state.status());
            }
        }
    }

    /// Answers at once, or once the job is done that the order takes.
    async fn order(&mut self, order: Event, reply: OrderReply) {
        let is_mark = order == Event::MarkGoodRequested;
        let accepted = self.request(order).await;
        let takes_time = is_mark || matches!(self.state.phase(), Phase::Withdrawing(_) | Phase::RollingBack);
        if accepted.is_ok() && takes_time {
            self.answer = Some(reply);
        } else {
            let _ = reply.send(accepted.map_err(|refusal| refusal.to_string()));
        }
    }

    /// Answers once it is certain what becomes of the attempt: only its end says whether the cancel came in time. Between
    /// two phases it did: the next one heeds it first, and a server that is told of them may be silent for long.
    async fn cancel(&mut self, reply: OrderReply) {
        let accepted = if self.cancel_answer.is_some() {
            Err("the update is being broken off already".to_owned())
        } else {
            let accepted = self.request(Event::CancelRequested).await;
            accepted.map_err(|refusal| refusal.to_string())
        };
        match accepted {
            Ok(()) if matches!(self.state.phase(), Phase::Announcing | Phase::Downloaded) => {
                let _ = reply.send(Ok(()));
            }
            Ok(()) => self.cancel_answer = Some(reply),
            // A client that has gone needs no answer.
            Err(refusal) => drop(reply.send(Err(refusal))),
        }
    }

    /// Who waits for `event`, and what he hears.
    pub(super) fn answer_to_order(&mut self, event: &Event) -> Option<(OrderReply, Result<(), String>)> {
        let (waiting, result) = match event {
            Event::Withdrawn(result) | Event::Marked(result) => (&mut self.answer, result.clone()),
            Event::RolledBack(result) => (&mut self.answer, result.clone().map(drop)),
            Event::Prepared(_) | Event::Downloaded(_) | Event::Finished(Err(_)) => {
                (&mut self.cancel_answer, Ok(()))
            }
            Event::Finished(Ok(_)) => (
                &mut self.cancel_answer,
                Err("it was too late: the update is installed".to_owned()),
            ),
            _ => return None,
        };
        waiting.take().zip(Some(result))
    }
}
