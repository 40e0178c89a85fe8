//! An engine that only answers the bus.

use std::path::Path;
use std::sync::{Arc, Mutex};

use test_support::bus::PrivateBus;
use tokio::sync::mpsc;
use update_engine::bus::{BusService, serve_bus, serve_peer};
use update_engine::status::{Command, CommandRefusal, Operation, Snapshot, SnapshotSender, Status};

/// The service with an engine behind it that does nothing but keep a status.
///
/// An attempt goes from idle to checking, with a signal; a reset is refused while checking. The
/// test changes and announces statuses by hand.
pub struct BusEngine {
    pub service: BusService,
    sender: SnapshotSender,
    answers: Arc<Mutex<Answers>>,
}

/// What the engine keeps.
#[derive(Default)]
struct Answers {
    status: Status,
    attempts: usize,
}

impl BusEngine {
    /// Serves on `bus`.
    pub async fn on(bus: &PrivateBus) -> Self {
        let (sender, news) = SnapshotSender::new();
        let (commands, asked) = mpsc::channel(1);
        let service = serve_bus(Some(bus.address()), commands, news).await.unwrap();
        Self::behind(service, asked, sender)
    }

    /// Serves at the socket `path`, without a bus.
    pub async fn at(path: &Path) -> Self {
        let (sender, news) = SnapshotSender::new();
        let (commands, asked) = mpsc::channel(1);
        let service = serve_peer(path, commands, news).await.unwrap();
        Self::behind(service, asked, sender)
    }

    fn behind(service: BusService, mut asked: mpsc::Receiver<Command>, sender: SnapshotSender) -> Self {
        let answers = Arc::new(Mutex::new(Answers::default()));
        let (answering, signals) = (answers.clone(), sender.statuses.clone());
        tokio::spawn(async move {
            while let Some(command) = asked.recv().await {
                answering.lock().unwrap().answer(command, &signals);
            }
        });
        Self {
            service,
            sender,
            answers,
        }
    }

    /// Sets the status without a signal.
    pub fn set(&self, operation: Operation) {
        self.answers.lock().unwrap().status.operation = operation;
    }

    /// Sets the status and signals it.
    pub fn announce(&self, status: Status) {
        self.answers.lock().unwrap().status = status.clone();
        self.sender.statuses.send(status).unwrap();
    }

    /// Publishes what our own interface shows.
    pub fn publish(&self, snapshot: Snapshot) {
        self.sender.snapshot.send_replace(snapshot);
    }

    /// How many attempts were asked for.
    pub fn attempts(&self) -> usize {
        self.answers.lock().unwrap().attempts
    }
}

impl Answers {
    fn answer(&mut self, command: Command, signals: &mpsc::UnboundedSender<Status>) {
        match command {
            Command::AttemptUpdate(reply) => {
                self.attempts += 1;
                if self.status.operation == Operation::Idle {
                    self.status.operation = Operation::CheckingForUpdate;
                    signals.send(self.status.clone()).unwrap();
                }
                let _ = reply.send(());
            }
            Command::ResetStatus(reply) => {
                let idle = !matches!(self.status.operation, Operation::CheckingForUpdate);
                if idle {
                    self.status = Status::default();
                }
                let _ = reply.send(idle);
            }
            Command::Withdraw(..) => {}
            Command::Preview(_, reply) => {
                drop(reply.send(Err(CommandRefusal::NotNow("nothing to be seen here".to_owned()))));
            }
            Command::Activate(reply)
            | Command::RollBack(reply)
            | Command::MarkGood(reply)
            | Command::Cancel(reply) => {
                let _ = reply.send(Err(CommandRefusal::NotNow("nothing to be done here".to_owned())));
            }
            Command::GetStatus(reply) => drop(reply.send(self.status.clone())),
        }
    }
}
