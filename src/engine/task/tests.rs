//! The task under a scripted world and a paused clock: what is done, in which order, and when.
#![allow(clippy::unwrap_used)]

mod attempts;
mod cancel;
mod snapshot;
mod staging;
mod stop;
mod trials;
mod waiting;

use std::sync::Mutex;

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::config::Activation;
use crate::disk::SlotName;
use crate::engine::{
    AttemptContext, BootsNext, Checked, Commitment, Failure, Fallback, Phase, Report, RunningSlotState,
    SlotError, StagedReadiness, Unconfirmed,
};
use crate::health::{Cause, TrialEnd};
use crate::omaha::{Backoff, ErrorCode, Offer, PayloadKind};
use crate::policy::ClockStep;
use crate::status::{
    CommandRefusal, OfferSource, Operation, Preview, Prospect, SlotReport, Snapshot, Trigger, WaitingSlot,
};

/// How long the end of an update takes.
const A_WHILE: Duration = Duration::from_millis(500);
/// How long a healthy slot is watched.
const SETTLE: Duration = Duration::from_secs(45);

/// What the world answers.
#[derive(Clone)]
struct Script {
    /// The trial ends after so long, if it does.
    trial: Option<(Duration, TrialEnd)>,
    fallback: Fallback,
    good: Result<(), SlotError>,
    rollback: Result<String, SlotError>,
    check: Answer,
    prepare: Result<(), Failure>,
    progress: Vec<Progress>,
    download: Result<(), Failure>,
    finish: Result<Commitment, Failure>,
    /// What becomes of reading a staged update back, and of its activation.
    confirmed: Result<StagedReadiness, Unconfirmed>,
    unstaged: Result<(), SlotError>,
    activated: Result<(), SlotError>,
    /// What the partition table says.
    boots_next: BootsNext,
    /// How long a look at the node takes; none ends without it.
    facts_take: Option<Duration>,
    /// Whether another update is offered while one waits.
    beside: bool,
    /// Whether the update still waits when a withdrawal ends, and how that ends.
    withdrawn: (bool, Result<(), SlotError>),
    interval: Option<Duration>,
    server: Server,
}

/// What the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Everything,
    ChecksOnly,
    Nothing,
}

#[derive(Clone)]
enum Answer {
    NoUpdate,
    Offer,
    Failed(Failure),
}

const fn of_hundred(done: u64) -> Progress {
    Progress {
        done,
        total: 100,
        content_package: None,
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            trial: Some((SETTLE, TrialEnd::Passed)),
            fallback: Fallback::Rebooting,
            good: Ok(()),
            rollback: Ok("0.9.0".to_owned()),
            check: Answer::Offer,
            prepare: Ok(()),
            progress: [1, 50, 100].map(of_hundred).into(),
            download: Ok(()),
            finish: Ok(Commitment::Clean),
            confirmed: Ok(ready(Activation::Order)),
            unstaged: Ok(()),
            activated: Ok(()),
            boots_next: BootsNext::default(),
            facts_take: Some(Duration::ZERO),
            beside: false,
            withdrawn: (false, Ok(())),
            interval: Some(Duration::from_secs(7 * 60)),
            server: Server::Everything,
        }
    }
}

struct Scripted {
    script: Script,
    done: Mutex<Vec<String>>,
    /// What the clock of the wall shows.
    wall: Mutex<i64>,
    clock_set: Notify,
}

impl Scripted {
    /// Everything takes a moment of the paused clock, which passes only while nobody has work to
    /// do.
    async fn note(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The other slot, as an update and a mark leave it.
    fn slot_b(&self) -> SlotReport {
        let done = self.done.lock().unwrap();
        let is_done = |what: &str| done.iter().any(|done| done == what);
        SlotReport {
            name: "USR-B".to_owned(),
            partuuid: String::new(),
            version: None,
            priority: if is_done("finish") { 2 } else { 0 },
            tries: 0,
            successful: is_done("mark good anyway"),
            running: false,
        }
    }

    /// The same for what waits for a server that may be one of `silent`.
    async fn ask(&self, what: impl Into<String>, silent: &[Server]) {
        self.note(what).await;
        if silent.contains(&self.script.server) {
            std::future::pending::<()>().await;
        }
    }
}

impl Updater for Scripted {
    type Plan = ();
    type Ready = ();
    type Downloaded = ();

    fn now(&self) -> i64 {
        *self.wall.lock().unwrap()
    }

    fn steady(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn clock_was_set(&self) {
        self.clock_set.notified().await;
    }

    async fn clock_stepped(&self, step: ClockStep) {
        self.note(format!("clock set by {}", step.by)).await;
    }

    fn until_next_check(&self) -> Option<Duration> {
        self.script.interval
    }

    fn next_check_reason(&self) -> String {
        "because".to_owned()
    }

    async fn node_facts(&self) -> NodeFacts {
        match self.script.facts_take {
            Some(Duration::ZERO) => {}
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
        NodeFacts {
            slots: vec![self.slot_b()],
            running_version: "1.0.0".to_owned(),
            waiting_version: Some("2.0.0".to_owned()),
            boots_next: self.script.boots_next,
            lost_extensions: vec!["docker is lost".to_owned()],
            ..NodeFacts::default()
        }
    }

    async fn watch_trial(&self) -> TrialEnd {
        let watched_before = self.done.lock().unwrap().iter().any(|done| done == "fall back");
        match self.script.trial.clone().filter(|_| !watched_before) {
            Some((after, end)) => {
                tokio::time::sleep(after).await;
                end
            }
            None => std::future::pending().await,
        }
    }

    async fn fall_back(&self, _cause: Cause) -> Fallback {
        self.note("fall back").await;
        self.script.fallback.clone()
    }

    async fn mark_good_anyway(&self) -> Result<(), SlotError> {
        self.note("mark good anyway").await;
        self.script.good.clone()
    }

    async fn roll_back(&self) -> Result<String, SlotError> {
        self.note("roll back").await;
        self.script.rollback.clone()
    }

    async fn mark_good(&self) -> Result<(), SlotError> {
        self.note("mark good").await;
        self.script.good.clone()
    }

    async fn preview(&self, _: OfferSource) -> Preview {
        self.note("preview").await;
        Preview {
            prospect: Prospect::NothingOffered,
            summary: "nothing".to_owned(),
            code: None,
            answered: None,
            version: None,
            payload_sha256: None,
            bytes_total: None,
            slot: None,
            checks: Vec::new(),
        }
    }

    async fn check(&self, trigger: Trigger) -> Checked<()> {
        let question = format!("check by {trigger:?}");
        self.ask(question, &[Server::Nothing]).await;
        match self.script.check.clone() {
            Answer::NoUpdate => Checked::NoUpdate,
            Answer::Offer => Checked::Offer((attempt(trigger, "2.0.0", 100), ())),
            Answer::Failed(failure) => Checked::Failed(failure),
        }
    }

    async fn revisit(&self, trigger: Trigger) -> Option<Checked<()>> {
        self.ask(format!("revisit by {trigger:?}"), &[Server::Nothing])
            .await;
        self.script
            .beside
            .then(|| Checked::Offer((attempt(trigger, "3.0.0", 300), ())))
    }

    async fn report(&self, _: &AttemptContext, report: &Report) {
        let event = match report {
            Report::DownloadStarted => "13/1".to_owned(),
            Report::DownloadFinished => "14/1".to_owned(),
            Report::Complete => "3/1".to_owned(),
            Report::Failed(failure) => format!("failed {}", failure.code),
        };
        self.ask(event, &[Server::ChecksOnly, Server::Nothing]).await;
    }

    async fn prepare(&self, _: &mut AttemptContext, (): ()) -> Result<(), Failure> {
        self.note("prepare").await;
        self.script.prepare.clone()
    }

    async fn download(
        &self,
        _: &mut AttemptContext,
        (): (),
        progress: watch::Sender<Progress>,
        _: CancelSignal,
    ) -> Result<(), Failure> {
        self.note("download").await;
        for report in &self.script.progress {
            progress.send(report.clone()).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.script.download.clone()
    }

    async fn finish(&self, _: &mut AttemptContext, (): (), _: CancelSignal) -> Result<Commitment, Failure> {
        self.note("finish").await;
        tokio::time::sleep(A_WHILE).await;
        self.script.finish.clone()
    }

    async fn remember_pending(&self, _: Option<&AttemptContext>) {
        self.note("remember").await;
    }

    async fn is_pending(&self) -> bool {
        self.script.withdrawn.0
    }

    async fn forget_pending(&self) {
        self.note("forget").await;
    }

    async fn confirm(&self, _: CancelSignal) -> Result<StagedReadiness, Unconfirmed> {
        self.note("confirm").await;
        self.script.confirmed.clone()
    }

    async fn activate(&self) -> Result<(), SlotError> {
        self.note("activate").await;
        self.script.activated.clone()
    }

    async fn unstage(&self) -> Result<(), SlotError> {
        self.note("unstage").await;
        self.script.unstaged.clone()
    }

    async fn ping(&self) {
        self.note("ping").await;
    }

    async fn withdraw(&self) -> Result<(), SlotError> {
        self.note("withdraw").await;
        self.script.withdrawn.1.clone()
    }
}

/// Read back, and nothing speaks against its activation.
fn ready(activation: Activation) -> StagedReadiness {
    StagedReadiness {
        activation,
        obstacle: None,
    }
}

/// An attempt at a payload of so many bytes.
fn attempt(trigger: Trigger, version: &str, size: u64) -> AttemptContext {
    let offer = Offer {
        version: version.to_owned(),
        package: "update.gz".to_owned(),
        urls: vec!["http://server/".to_owned()],
        size,
        sha256: [0; 32].into(),
        kind: PayloadKind::Full,
        backoff: Backoff::Enabled,
        max_failures_per_url: 10,
        metadata: None,
        extras: Vec::new(),
    };
    AttemptContext::at(trigger, offer, SlotName::B)
}

/// A running engine.
struct World {
    updater: Arc<Scripted>,
    commands: mpsc::Sender<Command>,
    statuses: mpsc::UnboundedReceiver<Status>,
    snapshot: watch::Receiver<Snapshot>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    fn start(state: State, script: Script) -> Self {
        let updater = Arc::new(Scripted {
            script,
            done: Mutex::default(),
            wall: Mutex::new(1000),
            clock_set: Notify::new(),
        });
        let (sender, published) = SnapshotSender::new();
        let (commands, receiver) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let engine = Engine::new(
            Arc::clone(&updater),
            (state, NodeFacts::default()),
            sender,
            stop.clone(),
        );
        Self {
            updater,
            commands,
            statuses: published.statuses,
            snapshot: published.snapshot,
            stop,
            task: tokio::spawn(engine.run(receiver)),
        }
    }

    async fn attempt(&self) {
        let (reply, answer) = oneshot::channel();
        let command = Command::AttemptUpdate(reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap();
    }

    async fn reset(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        let command = Command::ResetStatus(reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    async fn activate(&self) -> Result<(), CommandRefusal> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Activate(reply)).await.unwrap();
        answer.await.unwrap()
    }

    async fn withdraw(&self, slot: WaitingSlot) -> Result<(), CommandRefusal> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Withdraw(slot, reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    /// A cancel; its answer comes in time.
    async fn cancel(&self) -> oneshot::Receiver<Result<(), CommandRefusal>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Cancel(reply)).await.unwrap();
        answer
    }

    async fn status(&self) -> Status {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::GetStatus(reply)).await.unwrap();
        answer.await.unwrap()
    }

    /// The signals up to the first one of `operation`.
    async fn signals_until(&mut self, operation: Operation) -> Vec<Status> {
        let mut signals = Vec::new();
        loop {
            let status = self.statuses.recv().await.unwrap();
            signals.push(status);
            if signals.last().unwrap().operation == operation {
                return signals;
            }
        }
    }

    /// Stops the engine; gives what was done.
    async fn end(self) -> Vec<String> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.updater.done.lock().unwrap().clone()
    }
}

fn good() -> State {
    State {
        running: RunningSlotState::Good,
        ..State::idle()
    }
}
