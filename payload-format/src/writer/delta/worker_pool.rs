//! A worker pool: tasks on all cores within a bound of memory.
//!
//! Tasks begin in their order and end in any; nothing about a result may depend on that.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Threads, and the memory that they share.
#[derive(Debug, Clone, Copy)]
pub(in crate::writer) struct WorkerPool {
    pub(in crate::writer) threads: NonZeroUsize,
    /// In bytes. A task that needs more gets all of it, and works alone.
    pub(in crate::writer) memory: u64,
}

impl WorkerPool {
    /// Carries out one task for each of `needs`, its bytes of memory, and tells `sink` each task's
    /// number and result, in any order.
    pub(in crate::writer) fn run<R: Send, E>(
        &self,
        needs: &[u64],
        work: impl Fn(usize) -> R + Sync,
        mut sink: impl FnMut(usize, R) -> Result<(), E>,
    ) -> Result<(), E> {
        let (next, room) = (AtomicUsize::new(0), MemoryBudget::new(self.memory));
        let (done, results) = sync_channel(self.threads.get());
        thread::scope(|scope| {
            for _ in 0..self.threads.get() {
                let (done, next, room, work) = (done.clone(), &next, &room, &work);
                scope.spawn(move || {
                    while let Some((task, need)) = claim(next, needs) {
                        let place = room.take(need);
                        let result = work(task);
                        drop(place);
                        if done.send((task, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(done);
            // After an error nobody listens any more, so the others end with the task they are at.
            let results = results;
            results.iter().try_for_each(|(task, result)| sink(task, result))
        })
    }
}

fn claim(next: &AtomicUsize, needs: &[u64]) -> Option<(usize, u64)> {
    let task = next.fetch_add(1, Ordering::Relaxed);
    needs.get(task).map(|need| (task, *need))
}

/// Memory that is there to be taken.
struct MemoryBudget {
    all: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

impl MemoryBudget {
    fn new(all: u64) -> Self {
        Self {
            all,
            free: Mutex::new(all),
            freed: Condvar::new(),
        }
    }

    /// Waits until there is so much.
    fn take(&self, need: u64) -> Reservation<'_> {
        let need = need.min(self.all);
        // A number is whole whoever panicked while holding it.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self
            .freed
            .wait_while(free, |free| *free < need)
            .unwrap_or_else(PoisonError::into_inner);
        *free -= need;
        Reservation { room: self, need }
    }
}

/// Memory that is taken, until this is dropped.
struct Reservation<'a> {
    room: &'a MemoryBudget,
    need: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        *self.room.free.lock().unwrap_or_else(PoisonError::into_inner) += self.need;
        self.room.freed.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn workers(threads: usize) -> WorkerPool {
        WorkerPool {
            threads: NonZeroUsize::new(threads).unwrap(),
            memory: 100,
        }
    }

    #[test]
    fn every_task_is_done_once_within_the_memory() {
        let needs: Vec<u64> = (0..200).map(|task| task * 37 % 150).collect();
        let (held, mut done) = (AtomicU64::new(0), vec![0; needs.len()]);
        let work = |task: usize| {
            let need = needs[task].min(100);
            let now = held.fetch_add(need, Ordering::SeqCst) + need;
            thread::yield_now();
            held.fetch_sub(need, Ordering::SeqCst);
            now
        };
        workers(5)
            .run(&needs, work, |task, now| {
                done[task] += 1;
                assert!(now <= 100);
                Ok::<_, ()>(())
            })
            .unwrap();
        assert!(done.iter().all(|times| *times == 1));
    }

    #[test]
    fn an_error_ends_it() {
        let result = workers(3).run(
            &vec![60; 1000],
            |task| task,
            |task, _| if task < 5 { Ok(()) } else { Err(task) },
        );
        assert!(result.is_err());
    }
}
