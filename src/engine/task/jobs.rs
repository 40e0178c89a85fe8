//! The jobs of the task: one per effect that takes time, with one event at its end.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use super::Engine;
use crate::engine::progress::Throttle;
use crate::engine::updater::{Progress, Updater};
use crate::engine::{AttemptContext, CancelSignal, Event, Failure, Phase, Report};
use crate::health::Cause;
use crate::omaha::ErrorCode;
use crate::status::{CommandRefusal, OfferSource, Preview, Trigger};

/// The attempt under way, or the one that ended last.
pub(super) struct AttemptChain<U: Updater> {
    pub(super) context: AttemptContext,
    stage: Stage<U>,
}

/// What the last phase left for the next one.
enum Stage<U: Updater> {
    Planned(U::Plan),
    Ready(U::Ready),
    Downloaded(U::Downloaded),
    /// There is no next one.
    Ended,
}

/// What a job gives back.
pub(super) struct Done<U: Updater> {
    pub(super) event: Event,
    /// How the job left the attempt; none if it is no phase of it.
    pub(super) attempt: Option<AttemptChain<U>>,
}

impl<U: Updater> AttemptChain<U> {
    const fn ended(context: AttemptContext) -> Self {
        Self {
            context,
            stage: Stage::Ended,
        }
    }

    fn planned((context, plan): (AttemptContext, U::Plan)) -> Self {
        Self {
            context,
            stage: Stage::Planned(plan),
        }
    }
}

impl<U: Updater> Engine<U> {
    pub(super) fn report(&mut self, report: Report) {
        let attempt = self.attempt.as_ref();
        // Each report is about the end of a check, or of what follows from one.
        let context = attempt.map_or(AttemptContext::new(Trigger::Schedule), |attempt| {
            attempt.context.clone()
        });
        self.talk(|u| async move {
            u.report(&context, &report).await;
            (Event::Reported, None)
        });
    }

    pub(super) fn check(&mut self, trigger: Trigger) {
        self.talk(move |u| async move {
            let (outcome, planned) = u.check(trigger).await.split();
            let none = || AttemptChain::ended(AttemptContext::new(trigger));
            let attempt = planned.map_or_else(none, AttemptChain::planned);
            (Event::Checked(outcome, u.now()), Some(attempt))
        });
    }

    /// One at a time: what is under way asks for the same.
    pub(super) fn revisit(&mut self, trigger: Trigger) {
        if self.revisit.is_some() {
            return;
        }
        self.revisit = Some(self.talk(move |u| async move {
            match u.revisit(trigger).await {
                None => (Event::Pinged, None),
                Some(checked) => {
                    let (outcome, planned) = checked.split();
                    (
                        Event::Revisited(outcome, u.now()),
                        planned.map(AttemptChain::planned),
                    )
                }
            }
        }));
    }

    /// Its answer is of no interest once nothing waits.
    pub(super) fn drop_revisit(&mut self) {
        if let Some(revisit) = self.revisit.take() {
            revisit.abort();
        }
    }

    pub(super) fn watch_trial(&mut self) {
        self.talk(|u| async move { (Event::TrialEnded(u.watch_trial().await), None) });
    }

    pub(super) fn fall_back(&mut self, cause: Cause) {
        self.spawn(|u| async move { Event::FellBack(u.fall_back(cause).await) });
    }

    pub(super) fn mark_good(&mut self) {
        self.spawn(|u| async move { Event::Marked(u.mark_good().await) });
    }

    pub(super) fn mark_good_anyway(&mut self) {
        self.spawn(|u| async move { Event::Marked(u.mark_good_anyway().await) });
    }

    pub(super) fn roll_back(&mut self) {
        self.spawn(|u| async move { Event::RolledBack(u.roll_back().await) });
    }

    pub(super) fn withdraw(&mut self) {
        self.spawn(|u| async move { Event::Withdrawn(u.withdraw().await) });
    }

    /// A withdrawal breaks it off.
    pub(super) fn confirm(&mut self) {
        let cancel = CancelSignal::child_of(&self.stop);
        self.reading = cancel.clone();
        self.spawn(|u| async move { Event::Confirmed(u.confirm(cancel).await) });
    }

    pub(super) fn activate(&mut self) {
        self.spawn(|u| async move { Event::Activated(u.activate().await) });
    }

    pub(super) fn unstage(&mut self) {
        self.spawn(|u| async move { Event::Withdrawn(u.unstage().await) });
    }

    /// Beside what is under way.
    pub(super) fn ping(&mut self) {
        if self.revisit.is_some() {
            return;
        }
        self.revisit = Some(self.talk(|u| async move {
            u.ping().await;
            (Event::Pinged, None)
        }));
    }

    pub(super) fn prepare(&mut self) {
        self.spawn_phase(move |u, mut context, stage| async move {
            let Stage::Planned(plan) = stage else {
                return (Event::Prepared(Err(out_of_order())), AttemptChain::ended(context));
            };
            let result = u.prepare(&mut context, plan).await;
            next_stage(context, result, Stage::Ready, Event::Prepared)
        });
    }

    pub(super) fn download(&mut self) {
        let (sender, receiver) = watch::channel(Progress::default());
        self.progress = receiver;
        self.throttle = Throttle::default();
        self.publisher.restart_meter();
        let cancel = self.cancel.clone();
        self.spawn_phase(move |u, mut context, stage| async move {
            let Stage::Ready(ready) = stage else {
                return (
                    Event::Downloaded(Err(out_of_order())),
                    AttemptChain::ended(context),
                );
            };
            let result = u.download(&mut context, ready, sender, cancel).await;
            next_stage(context, result, Stage::Downloaded, Event::Downloaded)
        });
    }

    /// One at a time, and none beside an attempt: both would want the other slot for themselves.
    pub(super) fn preview(
        &mut self,
        source: OfferSource,
        reply: oneshot::Sender<Result<Preview, CommandRefusal>>,
    ) {
        while self.previews.try_join_next().is_some() {}
        let refusal = match self.state.phase() {
            Phase::Idle if self.previews.is_empty() => None,
            Phase::Idle => Some(CommandRefusal::PreviewedAlready),
            phase => Some(CommandRefusal::NotNow(format!(
                "a dry run has no meaning while {phase}"
            ))),
        };
        if let Some(refusal) = refusal {
            // A client that has gone needs no answer.
            let _ = reply.send(Err(refusal));
            return;
        }
        let updater = Arc::clone(&self.updater);
        self.previews.spawn(async move {
            let _ = reply.send(Ok(updater.preview(source).await));
        });
    }

    pub(super) fn finish(&mut self) {
        let cancel = self.cancel.clone();
        self.spawn_phase(move |u, mut context, stage| async move {
            let result = match stage {
                Stage::Downloaded(downloaded) => u.finish(&mut context, downloaded, cancel).await,
                _ => Err(out_of_order()),
            };
            (Event::Finished(result), AttemptChain::ended(context))
        });
    }

    /// A job that touches the disk and is no phase of an attempt: awaited when the engine stops.
    fn spawn<F>(&mut self, job: impl FnOnce(Arc<U>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let job = job(Arc::clone(&self.updater));
        self.jobs.spawn(async move {
            Done {
                event: job.await,
                attempt: None,
            }
        });
    }

    /// A job that only waits, for a server or for health: dropped when the engine stops.
    fn talk<F>(&mut self, job: impl FnOnce(Arc<U>) -> F) -> AbortHandle
    where
        F: Future<Output = (Event, Option<AttemptChain<U>>)> + Send + 'static,
    {
        let job = job(Arc::clone(&self.updater));
        self.talks.spawn(async move {
            let (event, attempt) = job.await;
            Done { event, attempt }
        })
    }

    /// A phase of the attempt under way, which touches the disk: brought to an end when the engine
    /// stops.
    fn spawn_phase<F>(&mut self, job: impl FnOnce(Arc<U>, AttemptContext, Stage<U>) -> F)
    where
        F: Future<Output = (Event, AttemptChain<U>)> + Send + 'static,
    {
        let none = || AttemptChain::ended(AttemptContext::new(Trigger::Schedule));
        let AttemptChain { context, stage } = self.attempt.take().unwrap_or_else(none);
        let job = job(Arc::clone(&self.updater), context, stage);
        self.jobs.spawn(async move {
            let (event, attempt) = job.await;
            Done {
                event,
                attempt: Some(attempt),
            }
        });
    }
}

fn next_stage<U: Updater, T>(
    context: AttemptContext,
    result: Result<T, Failure>,
    stage: impl FnOnce(T) -> Stage<U>,
    event: impl FnOnce(Result<(), Failure>) -> Event,
) -> (Event, AttemptChain<U>) {
    match result {
        Ok(value) => {
            let stage = stage(value);
            (event(Ok(())), AttemptChain { context, stage })
        }
        Err(failure) => (event(Err(failure)), AttemptChain::ended(context)),
    }
}

/// The state machine orders the phases; this is its last line of defence, not a case that is known.
fn out_of_order() -> Failure {
    Failure::new(ErrorCode::Error, "a phase of the update was started out of order")
}
