//! `Blocking<T>`: a value whose methods block, kept away from the runtime's one thread.

use std::sync::Arc;

/// A value whose methods read and write files, the disk, or what other programs hold: any of them
/// may take long, and the runtime has one thread for everything that waits. So they are reached by
/// [`Self::run`] alone, on a thread that may block. Clones are the same value.
pub(super) struct Blocking<T>(Arc<T>);

impl<T> Clone for Blocking<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + Sync + 'static> Blocking<T> {
    /// `value`, which others that block share.
    pub(super) fn new(value: &Arc<T>) -> Self {
        Self(Arc::clone(value))
    }

    pub(super) fn of(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Runs `work` on a thread of its own.
    pub(super) async fn run<R: Send + 'static>(&self, work: impl FnOnce(&T) -> R + Send + 'static) -> R {
        let value = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&value)).await {
            Ok(result) => result,
            // Blocking jobs are never aborted, so this is a panic: it goes on where it is waited
            // for.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// The value for this thread, which blocks: where the daemon does nothing else yet or any more,
    /// and for one look at a file that is not worth a thread.
    pub(super) fn on_this_thread(&self) -> &T {
        &self.0
    }
}
