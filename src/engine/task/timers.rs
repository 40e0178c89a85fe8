//! The timers of the task: the next check, and what becomes of its time when the clock is set.

use tokio::time::Instant;

use super::Engine;
use crate::engine::Event;
use crate::engine::updater::Updater;
use crate::status::NextCheck;

impl<U: Updater> Engine<U> {
    pub(super) fn schedule(&mut self) {
        if self.check_at.is_none() {
            let wait = self.updater.until_next_check();
            self.check_at = wait.map(|wait| {
                tracing::info!("next check in {} s", wait.as_secs());
                Instant::now() + wait
            });
            let now = self.updater.now();
            self.publisher.next_check = Some(NextCheck {
                time: wait.map(|wait| now.saturating_add_unsigned(wait.as_secs())),
                why: self.updater.next_check_reason(),
            });
        }
    }

    /// If something is under way, its end chooses the next time: until then none is known.
    pub(super) async fn check_due(&mut self) {
        self.check_at = None;
        self.reread_table().await;
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

    /// Times are noted as the clock of the wall shows them: once that is set, those from before are
    /// corrected.
    pub(super) async fn notice_clock_step(&mut self) {
        let (now, steady) = (self.updater.now(), self.updater.steady());
        let Some(step) = self.clock.step(now, steady) else {
            return;
        };
        tracing::info!("the clock was set by {} s", step.by);
        self.state.clock_stepped(step.by);
        self.updater.clock_stepped(step).await;
        self.renew_times();
    }

    /// The time of the next check is told anew: it comes after so long, whatever the clock says,
    /// and later if the machine has slept.
    pub(super) fn renew_times(&mut self) {
        if let (Some(at), Some(next)) = (self.check_at, &mut self.publisher.next_check) {
            let wait = at.saturating_duration_since(Instant::now());
            next.time = Some(self.updater.now().saturating_add_unsigned(wait.as_secs()));
        }
        self.publisher.publish(&self.state);
        self.read_facts();
    }
}
