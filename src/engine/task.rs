//! The one task that owns the state: it feeds [`step`] and has its effects done.

mod jobs;
mod orders;
mod publisher;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::progress::Throttle;
use super::updater::{Progress, Updater};
use super::{BootsNext, CancelSignal, Effect, Event, NextBoot, Phase, Refusal, State, Survey, step};
use crate::status::{Command, NextCheck, SnapshotSender, Status};
use jobs::{Attempt, Done};
use orders::OrderReply;
use publisher::Publisher;

/// A slot that could not be marked good is looked at again after so long.
const MARK_GOOD_AGAIN: Duration = Duration::from_secs(45);

/// The engine: state, what is under way, and when something is due.
pub struct Engine<U: Updater> {
    updater: Arc<U>,
    state: State,
    /// The attempt under way, or the last one; none before the first check, and while a phase has it.
    attempt: Option<Attempt<U>>,
    statuses: mpsc::UnboundedSender<Status>,
    publisher: Publisher,
    /// What touches the disk: awaited when the engine stops.
    jobs: JoinSet<Done<U>>,
    /// What only waits, for a server or for health: dropped then.
    talks: JoinSet<Done<U>>,
    /// The look at what an attempt would come to; answers by itself.
    previews: JoinSet<()>,
    /// The look at the node under way.
    surveys: JoinSet<Survey>,
    progress: watch::Receiver<Progress>,
    throttle: Throttle,
    started: Instant,
    clock: Clock,
    mark_good_at: Option<Instant>,
    check_at: Option<Instant>,
    /// What is asked beside an update that waits for the reboot.
    revisit: Option<AbortHandle>,
    /// Who waits for the end of what was asked by hand: a withdrawal, a rollback, a mark. One at a time.
    answer: Option<OrderReply>,
    /// Who waits for the end of the attempt that is being broken off.
    cancel_answer: Option<OrderReply>,
    stop: CancellationToken,
    /// Breaks off the attempt under way; `stop` does so, too.
    cancel: CancelSignal,
}

/// What woke the task.
enum Wake<U: Updater> {
    Stop,
    Command(Command),
    Progress(Progress),
    Job(Result<Box<Done<U>>, JoinError>),
    Surveyed(Result<Box<Survey>, JoinError>),
    MarkGoodDue,
    CheckDue,
    ClockSet,
}

impl<U: Updater> Engine<U> {
    /// An engine in `state` on a node that was found as `survey` says, whose first check is due from now on. It says at
    /// `sender` what it does, how it stands as soon as this returns, and ends soon after `stop`.
    pub fn new(
        updater: Arc<U>,
        (state, survey): (State, Survey),
        sender: SnapshotSender,
        stop: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let SnapshotSender { statuses, snapshot } = sender;
        let publisher = Publisher::new(snapshot, survey);
        let clock = Clock::new(updater.now(), updater.steady());
        let mut engine = Self {
            updater,
            clock,
            state,
            attempt: None,
            statuses,
            publisher,
            jobs: JoinSet::new(),
            talks: JoinSet::new(),
            previews: JoinSet::new(),
            surveys: JoinSet::new(),
            progress: closed(),
            throttle: Throttle::default(),
            started: now,
            mark_good_at: None,
            check_at: None,
            revisit: None,
            answer: None,
            cancel_answer: None,
            cancel: CancelSignal::child_of(&stop),
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
            self.look_at_clock().await;
            match wake {
                Wake::Stop => break,
                Wake::Command(command) => self.command(command).await,
                Wake::Progress((done, total)) => self.progressed(done, total).await,
                Wake::Job(Ok(done)) => self.done(*done).await,
                Wake::Job(Err(error)) if error.is_cancelled() => {}
                Wake::Job(Err(error)) | Wake::Surveyed(Err(error)) => self.died(&error),
                Wake::Surveyed(Ok(survey)) => self.surveyed(*survey).await,
                Wake::MarkGoodDue => {
                    self.mark_good_at = None;
                    self.handle(Event::MarkGoodDue).await;
                }
                Wake::CheckDue => self.check_due().await,
                Wake::ClockSet => self.renew_times(),
            }
        }
        self.talks.abort_all();
        self.surveys.abort_all();
        self.previews.abort_all();
        self.wind_up().await;
    }

    /// If something is under way, its end chooses the next time: until then none is known.
    async fn check_due(&mut self) {
        self.check_at = None;
        self.look_at_table().await;
        // A table that was changed by hand has scheduled one already.
        if self.check_at.is_none() {
            self.publisher.next_check = Some(NextCheck {
                time: None,
                why: "as soon as what is under way has ended".to_owned(),
            });
        }
        self.handle(Event::CheckDue).await;
        self.publisher.publish(&self.state);
    }

    /// Times are noted as the clock of the wall shows them: once that is set, those from before are corrected.
    async fn look_at_clock(&mut self) {
        let (now, steady) = (self.updater.now(), self.updater.steady());
        let Some(step) = self.clock.step(now, steady) else {
            return;
        };
        tracing::info!("the clock was set by {} s", step.by);
        self.state.clock_stepped(step.by);
        self.updater.clock_stepped(step).await;
        self.renew_times();
    }

    /// The time of the next check is told anew: it comes after so long, whatever the clock says, and later if the machine
    /// has slept.
    fn renew_times(&mut self) {
        if let (Some(at), Some(next)) = (self.check_at, &mut self.publisher.next_check) {
            let wait = at.saturating_duration_since(Instant::now());
            next.time = Some(self.updater.now().saturating_add_unsigned(wait.as_secs()));
        }
        self.publisher.publish(&self.state);
        self.survey();
    }

    /// Waits for what is under way. A commit is not taken back: that the other slot boots next is known to
    /// whoever is started after us.
    async fn wind_up(&mut self) {
        while let Some(job) = self.jobs.join_next().await {
            match job {
                Ok(done) if matches!(done.event, Event::Finished(Ok(_)) | Event::RolledBack(Ok(_))) => {
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
            Ok(()) = self.progress.changed() => Wake::Progress(*self.progress.borrow_and_update()),
            Some(done) = self.jobs.join_next() => Wake::Job(done.map(Box::new)),
            Some(done) = self.talks.join_next() => Wake::Job(done.map(Box::new)),
            Some(survey) = self.surveys.join_next() => Wake::Surveyed(survey.map(Box::new)),
            () = due(self.mark_good_at) => Wake::MarkGoodDue,
            () = due(self.check_at) => Wake::CheckDue,
            () = self.updater.clock_was_set() => Wake::ClockSet,
        }
    }

    async fn progressed(&mut self, done: u64, total: u64) {
        let now = self.started.elapsed();
        if let Some(fraction) = self.throttle.offer(done, total, now) {
            self.handle(Event::Progressed(fraction)).await;
        }
        self.publisher.progressed(&self.state, (done, total), now);
    }

    async fn done(&mut self, done: Done<U>) {
        if matches!(done.event, Event::Pinged | Event::Revisited(..)) {
            self.revisit = None;
        }
        let came_too_late =
            matches!(done.event, Event::Revisited(..)) && self.state.phase() != &Phase::NeedReboot;
        if let Some(attempt) = done.attempt.filter(|_| !came_too_late) {
            self.attempt = Some(attempt);
        }
        // Whoever waits for the reboot has been told otherwise before the slot was touched.
        if self.state.may_be_forgotten() && !self.updater.is_pending().await {
            self.handle(Event::Forgotten).await;
        }
        let answer = self.answer_to_order(&done.event);
        self.handle(done.event).await;
        if let Some((reply, result)) = answer {
            // A client that has gone needs no answer.
            let _ = reply.send(result);
        }
    }

    /// A job that panicked must not leave the engine waiting for it for ever: the daemon ends and is
    /// started anew.
    fn died(&mut self, error: &JoinError) {
        tracing::error!(%error, "a job of the engine died");
        self.stop.cancel();
    }

    async fn handle(&mut self, event: Event) {
        // What means nothing is in the journal, and nobody waits for an answer.
        let _ = self.request(event).await;
    }

    /// Carries the event out if it means something.
    async fn request(&mut self, event: Event) -> Result<(), Refusal> {
        let is_progress = matches!(event, Event::Progressed(_));
        match step(&self.state, event) {
            Ok((state, effects)) => {
                self.log(&state);
                self.state = state;
                for effect in effects {
                    self.perform(effect).await;
                }
                if !is_progress {
                    self.publisher.publish(&self.state);
                    self.survey();
                }
                Ok(())
            }
            Err(refusal) => {
                tracing::info!("{refusal}");
                Err(refusal)
            }
        }
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
            // Nobody listens any more while the daemon ends.
            Effect::Signal(status) => drop(self.statuses.send(status)),
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

    fn schedule(&mut self) {
        if self.check_at.is_none() {
            let wait = self.updater.until_next_check();
            self.check_at = wait.map(|wait| {
                tracing::info!("next check in {} s", wait.as_secs());
                Instant::now() + wait
            });
            let now = self.updater.now();
            self.publisher.next_check = Some(NextCheck {
                time: wait.map(|wait| now.saturating_add_unsigned(wait.as_secs())),
                why: self.updater.why_then(),
            });
        }
    }

    /// One look at a time: what changes meanwhile is seen by the next one.
    fn survey(&mut self) {
        if self.surveys.is_empty() {
            let updater = Arc::clone(&self.updater);
            self.surveys.spawn(async move { updater.survey().await });
        } else {
            self.publisher.is_outdated = true;
        }
    }

    async fn surveyed(&mut self, survey: Survey) {
        let is_outdated = std::mem::take(&mut self.publisher.is_outdated);
        if !is_outdated {
            self.compare_with_table(survey.boots_next).await;
        }
        self.publisher.survey = survey;
        self.publisher.publish(&self.state);
        if is_outdated {
            self.survey();
        }
    }

    /// Somebody may have changed the partition table by hand while the other slot is waited for: before anything is
    /// decided by that, it is looked at.
    async fn look_at_table(&mut self) {
        if self.state.phase() == &Phase::NeedReboot {
            let survey = self.updater.survey().await;
            self.compare_with_table(survey.boots_next).await;
            self.publisher.survey = survey;
            self.publisher.publish(&self.state);
        }
    }

    async fn compare_with_table(&mut self, boots_next: BootsNext) {
        if boots_next == BootsNext::Running && self.state.phase() == &Phase::NeedReboot {
            tracing::warn!(
                "the partition table says that the running slot boots next: nothing waits for the reboot"
            );
            self.handle(Event::Overtaken).await;
        }
    }
}

fn closed() -> watch::Receiver<Progress> {
    watch::channel((0, 0)).1
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
