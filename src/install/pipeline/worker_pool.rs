//! The threads that decode, write and sync.

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

/// Threads that take work from one queue, in its order. Joined when dropped, after what is queued
/// is done.
pub(super) struct WorkerPool<J> {
    jobs: Option<mpsc::Sender<J>>,
    threads: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static> WorkerPool<J> {
    /// `size` threads, at least one, that each pass what they take to `work`.
    pub(super) fn new(size: usize, work: impl Fn(J) + Send + Sync + 'static) -> Self {
        let (jobs, queue) = mpsc::channel();
        let (queue, work) = (Arc::new(Mutex::new(queue)), Arc::new(work));
        let threads = (0..size.max(1))
            .map(|_| {
                let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
                thread::spawn(move || {
                    while let Some(job) = take(&queue) {
                        work(job);
                    }
                })
            })
            .collect();
        Self {
            jobs: Some(jobs),
            threads,
        }
    }

    /// Queues a job.
    pub(super) fn give(&self, job: J) {
        // The threads only go when the sender does; one that panicked is noticed when all are
        // joined.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

fn take<J>(queue: &Mutex<mpsc::Receiver<J>>) -> Option<J> {
    // Nothing can panic while it is held.
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl<J> Drop for WorkerPool<J> {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join()
                && !thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}
