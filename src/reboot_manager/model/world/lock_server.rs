//! The lock's server of the model: conditional writes, some of which take effect late.

use super::super::super::{LockAnswer, ManagerEvent, ManagerJob, UnlockAnswer};
use super::node::{Running, Write};
use super::{Sabotage, Successors, World};

impl World {
    /// Writes that nobody waits for any more.
    pub(super) fn lock_server(&self, at: usize, found: &mut Successors) {
        if let Some(write) = self.nodes[at].ghost {
            let (name, mut world) = self.changed("late write takes effect", at, |node, _| node.ghost = None);
            world.write(at, write);
            found.push((name, world));
        }
    }

    /// A write takes effect; no other that was asked for before does any more.
    pub(super) fn write(&mut self, at: usize, write: Write) {
        let is_blind = self.is_sabotaged(Sabotage::BlindWrites);
        for node in self.nodes.iter_mut().filter(|_| !is_blind) {
            node.ghost = None;
            if let Some(Running {
                sent: Some((_, holds)),
                ..
            }) = &mut node.running
            {
                *holds = false;
            }
        }
        let is_holder = &mut self.nodes[at].is_holder;
        match write {
            Write::Add => *is_holder = true,
            Write::Remove if *is_holder => *is_holder = false,
            Write::Remove if self.is_sabotaged(Sabotage::UnlockOfAnother) => {
                if let Some(node) = self.nodes.iter_mut().find(|node| node.is_holder) {
                    node.is_holder = false;
                }
            }
            Write::Remove => {}
        }
    }

    pub(super) fn lock_job(
        &self,
        at: usize,
        job: &ManagerJob,
        sent: Option<(Write, bool)>,
        found: &mut Successors,
    ) {
        let is_lock = matches!(job, ManagerJob::Lock { .. });
        let answered = |is_done: bool| match (is_lock, is_done) {
            (true, true) => ManagerEvent::Locked(LockAnswer::Granted),
            (true, false) => ManagerEvent::Locked(LockAnswer::Failed("lost".to_owned())),
            (false, true) => ManagerEvent::Unlocked(UnlockAnswer::Released),
            (false, false) => ManagerEvent::Unlocked(UnlockAnswer::Failed("lost".to_owned())),
        };
        match sent {
            None => self.read_lock(at, job, found),
            // Somebody else was faster.
            Some((_, false)) => found.push(self.changed("lost the race", at, |node, _| {
                if let Some(running) = &mut node.running {
                    running.sent = None;
                }
            })),
            Some((write, true)) => {
                let (_, mut written) = self.changed("", at, |node, _| node.running = None);
                written.write(at, write);
                found.push(written.told("write is answered", at, &answered(true)));
                if self.budget.repeats > 0 {
                    // The condition of the second fails: something was written since the read.
                    let is_blind = self.is_sabotaged(Sabotage::BlindWrites);
                    let mut twice = written.clone();
                    twice.budget.repeats -= 1;
                    twice.nodes[at].ghost = Some(write).filter(|_| is_blind);
                    found.push(twice.told("write arrives twice", at, &answered(true)));
                }
                if self.budget.losses > 0 {
                    written.budget.losses -= 1;
                    found.push(written.told("write's answer is lost", at, &answered(false)));
                    let mut late = self.clone();
                    late.budget.losses -= 1;
                    late.nodes[at].abandon();
                    found.push(late.told("write is late", at, &answered(false)));
                }
            }
        }
    }

    pub(super) fn read_lock(&self, at: usize, job: &ManagerJob, found: &mut Successors) {
        let is_twin = |other: usize| self.is_sabotaged(Sabotage::TwoManagers) && at < 2 && other < 2;
        let is_holder =
            (0..self.nodes.len()).any(|other| self.nodes[other].is_holder && (other == at || is_twin(other)));
        let holders = self.nodes.iter().filter(|node| node.is_holder).count();
        let asks = |write: Write| {
            self.changed("lock is read", at, |node, _| {
                if let Some(running) = &mut node.running {
                    running.sent = Some((write, true));
                }
            })
        };
        found.push(match job {
            // Written again: it overtakes what may be on its way.
            ManagerJob::Lock { .. } if is_holder && self.is_sabotaged(Sabotage::NoFence) => {
                self.told("holds it", at, &ManagerEvent::Locked(LockAnswer::Granted))
            }
            ManagerJob::Lock { .. } if is_holder => asks(Write::Add),
            ManagerJob::Lock { .. } if holders >= self.scenario.places => self.told(
                "is taken",
                at,
                &ManagerEvent::Locked(LockAnswer::Taken("others".to_owned())),
            ),
            ManagerJob::Lock { .. } => asks(Write::Add),
            ManagerJob::Unlock { fence } => {
                let fence = *fence && !self.is_sabotaged(Sabotage::NoFence);
                if is_holder || fence || self.is_sabotaged(Sabotage::UnlockOfAnother) {
                    asks(Write::Remove)
                } else {
                    self.told(
                        "holds nothing",
                        at,
                        &ManagerEvent::Unlocked(UnlockAnswer::Released),
                    )
                }
            }
            _ => return,
        });
    }
}
