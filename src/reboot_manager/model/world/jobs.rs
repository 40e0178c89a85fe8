//! The possible outcomes of a manager's jobs.
//!
//! A clock that is set, forwards or backwards, affects only windows: each look may find one open or closed, whatever the look
//! before has found. Pauses may end at any time, except for the one that outlasts a shutdown.

use super::super::super::{
    Confirmation, EngineView, ManagerEvent, ManagerJob, NoteAnswer, Pause, PrepareAnswer, Reason,
    RebootAnswer,
};
use super::node::Running;
use super::{Sabotage, Successors, World};

impl World {
    /// What may become of the job under way.
    pub(super) fn job(&self, at: usize, found: &mut Successors) {
        let Some(Running { job, sent }) = &self.nodes[at].running else {
            return;
        };
        let mut answer = |name: &str, event: ManagerEvent| found.push(self.told(name, at, &event));
        match job {
            ManagerJob::AwaitWindow => answer("window opens", ManagerEvent::Window(true)),
            ManagerJob::LookAtWindow => {
                answer("window is open", ManagerEvent::Window(true));
                answer("window is closed", ManagerEvent::Window(false));
            }
            ManagerJob::Prepare => {
                answer("prepared", ManagerEvent::Prepared(PrepareAnswer::Done));
                if self.budget.vetoes > 0 {
                    let (name, mut world) = self.told(
                        "veto",
                        at,
                        &ManagerEvent::Prepared(PrepareAnswer::Vetoed("veto".to_owned())),
                    );
                    world.budget.vetoes -= 1;
                    found.push((name, world));
                }
            }
            ManagerJob::Notify => answer("users are told", ManagerEvent::UsersNotified),
            ManagerJob::Confirm => self.confirm_job(at, found),
            ManagerJob::Reboot => self.reboot_job(at, found),
            ManagerJob::Settle => answer("settled", ManagerEvent::Settled),
            // It lasts longer than the machine.
            ManagerJob::Pause(Pause::Shutdown) if self.nodes[at].machine.goes_down => {}
            ManagerJob::Pause(_) => answer("pause is over", ManagerEvent::PauseOver),
            ManagerJob::Note(_) => self.note_job(at, found),
            ManagerJob::Lock { .. } | ManagerJob::Unlock { .. } => self.lock_job(at, job, *sent, found),
        }
    }

    /// Nothing that the manager does stands between the last look and the order to reboot.
    fn confirm_job(&self, at: usize, found: &mut Successors) {
        let activation = self.scenario.activation;
        let (_, mut looked) = self.changed("", at, |node, _| {
            let machine = &mut node.machine;
            let is_update = machine.waiting.is_some() && !machine.is_rollback;
            machine.was_confirmed = is_update || machine.staged_for_reboot(activation).is_some();
        });
        let confirmation = |is_open, inhibitors: Option<&str>| {
            ManagerEvent::Confirmed(Confirmation {
                engine: self.view(at),
                is_open,
                inhibitors: inhibitors.map(str::to_owned),
            })
        };
        found.push(looked.told("confirmed", at, &confirmation(true, None)));
        if matches!(self.view(at), EngineView::Silent(_)) {
            return;
        }
        found.push(looked.told("window has closed", at, &confirmation(false, None)));
        if looked.budget.refusals > 0 {
            looked.budget.refusals -= 1;
            found.push(looked.told("inhibited", at, &confirmation(true, Some("shutdown"))));
        }
    }

    fn reboot_job(&self, at: usize, found: &mut Successors) {
        let is_for_update = self.nodes[at]
            .disk
            .as_ref()
            .and_then(|disk| disk.wanted.as_ref())
            .is_some_and(|wanted| wanted.reason == Reason::Update);
        let (_, mut ordered) = self.changed("", at, |node, _| {
            node.machine.goes_down = true;
            node.machine.is_for_update = is_for_update;
        });
        let answered = ManagerEvent::RebootAnswered;
        found.push(ordered.told("reboot is ordered", at, &answered(RebootAnswer::Ordered)));
        if self.budget.refusals == 0 {
            return;
        }
        let mut refused = self.clone();
        refused.budget.refusals -= 1;
        ordered.budget.refusals -= 1;
        let lost = || {
            answered(if self.is_sabotaged(Sabotage::ForgottenOrder) {
                RebootAnswer::Refused("lost".to_owned())
            } else {
                RebootAnswer::Lost("lost".to_owned())
            })
        };
        found.push(refused.told(
            "logind refuses",
            at,
            &answered(RebootAnswer::Refused("busy".to_owned())),
        ));
        found.push(refused.told("logind is lost before the order", at, &lost()));
        found.push(ordered.told("logind's answer is lost", at, &lost()));
    }

    fn note_job(&self, at: usize, found: &mut Successors) {
        let noted = match (self.scenario.tells_holders, self.nodes[at].is_holder) {
            (false, _) => NoteAnswer::CannotTell,
            (true, true) => NoteAnswer::Noted,
            (true, false) => NoteAnswer::NotHeld,
        };
        found.push(self.told("lock is looked at", at, &ManagerEvent::Noted(noted)));
        if self.budget.losses > 0 {
            let failed = ManagerEvent::Noted(NoteAnswer::Failed("lost".to_owned()));
            let (name, mut world) = self.told("look at the lock is lost", at, &failed);
            world.budget.losses -= 1;
            found.push((name, world));
        }
    }
}
