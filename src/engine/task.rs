//! The one task that owns the state: it feeds [`step`] and has its effects done.

mod commands;
mod facts;
mod jobs;
mod publisher;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::progress::Throttle;
use super::updater::{Progress, Updater};
use super::{CancelSignal, Commitment, Effect, Event, NextBoot, NodeFacts, State, UnexpectedEvent, step};
use crate::status::{Command, SnapshotSender, Status};
use commands::CommandReply;
use jobs::{AttemptChain, Done};
use publisher::Publisher;

/// A slot that could not be marked good is looked at again after so long.
const MARK_GOOD_AGAIN: Duration = Duration::from_secs(45);

/// The engine: state, what is under way, and when something is due.
pub struct Engine<U: Updater> {
    updater: Arc<U>,
    state: State,
    /// The attempt under way, or the last one; none before the first check, and while a phase has
    /// it.
    attempt: Option<AttemptChain<U>>,
    statuses: mpsc::UnboundedSender<Status>,
    /// Signals of the event that is being carried out: sent once its facts are published.
    unsent: Vec<Status>,
    publisher: Publisher,
    /// What touches the disk: awaited when the engine stops.
    jobs: JoinSet<Done<U>>,
    /// What only waits, for a server or for health: dropped then.
    talks: JoinSet<Done<U>>,
    /// The look at what an attempt would come to; answers by itself.
    previews: JoinSet<()>,
    /// The reading of the node's facts that is under way.
    fact_reads: JoinSet<NodeFacts>,
    /// Whether the table in the published facts has yet to be compared with the state.
    is_table_new: bool,
    progress: watch::Receiver<Progress>,
    throttle: Throttle,
    started: Instant,
    clock: Clock,
    mark_good_at: Option<Instant>,
    check_at: Option<Instant>,
    /// The ping or check under way beside an update that waits for the reboot.
    revisit: Option<AbortHandle>,
    /// The reply to a command that is being carried out: a withdrawal, a rollback, a mark. One at a
    /// time.
    pending_reply: Option<CommandReply>,
    /// The reply to the cancel of the attempt that is being broken off.
    cancel_reply: Option<CommandReply>,
    stop: CancellationToken,
    /// Breaks off the attempt under way; `stop` does so, too.
    cancel: CancelSignal,
    /// Breaks off reading back what is staged.
    reading: CancelSignal,
}

/// What woke the task.
enum Wake<U: Updater> {
    Stop,
    Command(Command),
    Progress(Progress),
    Job(Result<Box<Done<U>>, JoinError>),
    FactsRead(Result<Box<NodeFacts>, JoinError>),
    MarkGoodDue,
    CheckDue,
    ClockSet,
}

impl<U: Updater> Engine<U> {
    /// An engine in `state` on a node that was found as `facts` says, whose first check is due from
    /// now on. It says at `sender` what it does, how it stands as soon as this returns, and ends
    /// soon after `stop`.
    pub fn new(
        updater: Arc<U>,
        (state, facts): (State, NodeFacts),
        sender: SnapshotSender,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let SnapshotSender { statuses, snapshot } = sender;
        let publisher = Publisher::new(snapshot, facts);
        let clock = Clock::new(updater.now(), updater.steady());
        let mut engine = Self {
            updater,
            clock,
            state,
            attempt: None,
            statuses,
            unsent: Vec::new(),
            publisher,
            jobs: JoinSet::new(),
            talks: JoinSet::new(),
            previews: JoinSet::new(),
            fact_reads: JoinSet::new(),
            is_table_new: false,
            progress: closed(),
            throttle: Throttle::default(),
            started: now,
            mark_good_at: None,
            check_at: None,
            revisit: None,
            pending_reply: None,
            cancel_reply: None,
            cancel: CancelSignal::child_of(&stop),
            reading: CancelSignal::child_of(&stop),
            stop,
        };
        engine.schedule();
        engine.publisher.publish(&engine.state);
        engine
    }

    /// Runs until stopped, or until nobody can send commands any more. What is under way when it is
    /// stopped is brought to a point from which it can be resumed; no server is waited for.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.handle(Event::Started).await;
        loop {
            let wake = self.wait(&mut commands).await;
            self.notice_clock_step().await;
            match wake {
                Wake::Stop => break,
                Wake::Command(command) => self.command(command).await,
                Wake::Progress(progress) => self.progressed(progress).await,
                Wake::Job(Ok(done)) => self.done(*done).await,
                Wake::Job(Err(error)) if error.is_cancelled() => {}
                Wake::Job(Err(error)) | Wake::FactsRead(Err(error)) => self.died(&error),
                Wake::FactsRead(Ok(facts)) => {
                    self.facts_read(*facts);
                    self.publisher.publish(&self.state);
                }
                Wake::MarkGoodDue => {
                    self.mark_good_at = None;
                    self.handle(Event::MarkGoodDue).await;
                }
                Wake::CheckDue => self.check_due().await,
                Wake::ClockSet => self.renew_times(),
            }
            if std::mem::take(&mut self.is_table_new) {
                self.compare_with_table().await;
            }
        }
        self.talks.abort_all();
        self.fact_reads.abort_all();
        self.previews.abort_all();
        self.wind_up().await;
    }

    /// Waits for what is under way. A commit is not taken back: that the other slot boots next is
    /// known to whoever is started after us.
    async fn wind_up(&mut self) {
        while let Some(job) = self.jobs.join_next().await {
            match job {
                Ok(done) if is_next_boot(&done.event) => {
                    let context = done.attempt.map(|attempt| attempt.context);
                    self.updater.remember_pending(context.as_ref()).await;
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "a job of the engine died"),
            }
        }
    }

    async fn wait(&mut self, commands: &mut mpsc::Receiver<Command>) -> Wake<U> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Wake::Stop,
            command = commands.recv() => command.map_or(Wake::Stop, Wake::Command),
            // Before the job's end, so that the last byte is signalled before what follows.
            Ok(()) = self.progress.changed() => Wake::Progress(self.progress.borrow_and_update().clone()),
            Some(done) = self.jobs.join_next() => Wake::Job(done.map(Box::new)),
            Some(done) = self.talks.join_next() => Wake::Job(done.map(Box::new)),
            Some(facts) = self.fact_reads.join_next() => Wake::FactsRead(facts.map(Box::new)),
            () = due(self.mark_good_at) => Wake::MarkGoodDue,
            () = due(self.check_at) => Wake::CheckDue,
            () = self.updater.clock_was_set() => Wake::ClockSet,
        }
    }

    async fn progressed(&mut self, progress: Progress) {
        let now = self.started.elapsed();
        if let Some(fraction) = self.throttle.offer(progress.done, progress.total, now) {
            self.handle(Event::Progressed(fraction)).await;
        }
        self.publisher.progressed(&self.state, progress, now);
    }

    async fn done(&mut self, done: Done<U>) {
        if matches!(done.event, Event::Pinged | Event::Revisited(..)) {
            self.revisit = None;
        }
        let came_too_late = matches!(done.event, Event::Revisited(..)) && !self.state.phase().waits();
        if let Some(attempt) = done.attempt.filter(|_| !came_too_late) {
            self.attempt = Some(attempt);
        }
        // Whoever waits for the reboot has been told otherwise before the slot was touched.
        if self.state.may_be_forgotten() && !self.updater.is_pending().await {
            self.handle(Event::Forgotten).await;
        }
        let answer = self.reply_due_after(&done.event);
        self.handle(done.event).await;
        if let Some((reply, result)) = answer {
            reply.send(result);
        }
    }

    /// A job that panicked must not leave the engine waiting for it for ever: the daemon ends and
    /// is started anew.
    fn died(&mut self, error: &JoinError) {
        tracing::error!(%error, "a job of the engine died");
        self.stop.cancel();
    }

    async fn handle(&mut self, event: Event) {
        // What means nothing is in the journal, and nobody waits for an answer.
        let _ = self.request(event).await;
    }

    /// Carries the event out if it means something. Whoever hears of it, by a signal, a property or
    /// a reply, finds slots and history as they are since.
    async fn request(&mut self, event: Event) -> Result<(), UnexpectedEvent> {
        let is_progress = matches!(event, Event::Progressed(_));
        let (state, effects) = step(&self.state, event).inspect_err(|refusal| tracing::info!("{refusal}"))?;
        self.log(&state);
        self.state = state;
        for effect in effects {
            self.perform(effect).await;
        }
        if !is_progress {
            self.refresh_facts().await;
        }
        for status in self.unsent.drain(..) {
            // Nobody listens any more while the daemon ends.
            let _ = self.statuses.send(status);
        }
        Ok(())
    }

    fn log(&self, next: &State) {
        let operation = next.phase().operation();
        if operation != self.state.phase().operation() {
            tracing::info!("{}", operation.as_str());
        }
        if let (None, Some(failure)) = (self.state.last_failure(), next.last_failure()) {
            tracing::error!(
                MESSAGE_ID = self.state.phase().message_id(failure).id(),
                UPDATE_CODE = failure.code.number(),
                "update attempt failed (code {}): {}",
                failure.code,
                failure.reason()
            );
        }
    }

    async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Signal(status) => self.unsent.push(status),
            Effect::MarkGoodLater => self.mark_good_at = Some(Instant::now() + MARK_GOOD_AGAIN),
            Effect::WatchTrial => self.watch_trial(),
            Effect::FallBack(cause) => self.fall_back(cause),
            Effect::MarkGood => self.mark_good(),
            Effect::MarkGoodAnyway => self.mark_good_anyway(),
            Effect::RollBack => self.roll_back(),
            Effect::Check(trigger) => self.check(trigger),
            Effect::Revisit(trigger) => self.revisit(trigger),
            Effect::Report(report) => self.report(report),
            Effect::Cancel => self.cancel.cancel_by_operator(),
            Effect::Prepare => {
                self.cancel = CancelSignal::child_of(&self.stop);
                self.prepare();
            }
            Effect::Confirm => self.confirm(),
            Effect::Activate => self.activate(),
            Effect::Unstage => {
                self.drop_revisit();
                self.reading.cancel_by_operator();
                self.unstage();
            }
            Effect::Ping => self.ping(),
            Effect::Download => self.download(),
            Effect::Finish => self.finish(),
            Effect::RememberPending => self.remember_pending().await,
            Effect::ForgetPending => {
                self.drop_revisit();
                self.updater.forget_pending().await;
            }
            Effect::Withdraw => {
                self.drop_revisit();
                self.withdraw();
            }
            Effect::Schedule => self.schedule(),
        }
    }

    /// A rollback by hand is no attempt.
    async fn remember_pending(&self) {
        let attempt = self.attempt.as_ref().map(|attempt| &attempt.context);
        let attempt = attempt.filter(|_| self.state.next_boot == NextBoot::Update);
        self.updater.remember_pending(attempt).await;
    }
}

/// Whether the other slot boots next since this.
fn is_next_boot(event: &Event) -> bool {
    match event {
        Event::Finished(Ok(commitment)) => !matches!(commitment, Commitment::Staged(_)),
        Event::RolledBack(Ok(_)) | Event::Activated(Ok(())) => true,
        _ => false,
    }
}

fn closed() -> watch::Receiver<Progress> {
    watch::channel(Progress::default()).1
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
