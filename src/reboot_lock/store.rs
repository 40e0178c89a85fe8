//! Changes of a semaphore in a store that compares and swaps.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::LockError;
use super::semaphore::{Note, Refusal, Semaphore};

/// Others may be faster so often, one after the other.
const MOST_RACES: u32 = 16;

/// A semaphore and the state of the store that it was read in.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) semaphore: Semaphore,
    pub(super) revision: u64,
}

/// Outcome of a write that depends on what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swap {
    Done,
    /// Something else stands there by now.
    Raced,
}

/// A place where a semaphore is kept.
pub(super) trait SemaphoreStore {
    /// Whether notes can stand beside the holders.
    const HAS_NOTES: bool;

    /// The semaphore; none before anybody has made one.
    async fn read(&self) -> Result<Option<Found>, LockError>;
    /// Makes it, if there is none.
    async fn create(&self, semaphore: &Semaphore) -> Result<Swap, LockError>;
    /// Replaces it, if it is unchanged since it was read.
    async fn replace(&self, before: &Found, semaphore: &Semaphore) -> Result<Swap, LockError>;
}

/// What a change comes to.
pub(super) enum Change {
    /// This is to be written.
    Write(Semaphore),
    /// As it is, it is right.
    Keep,
}

/// The semaphore, made if there is none.
pub(super) async fn current(store: &impl SemaphoreStore) -> Result<Found, LockError> {
    for _ in 0..MOST_RACES {
        if let Some(found) = store.read().await? {
            return Ok(found);
        }
        store.create(&Semaphore::default()).await?;
    }
    Err(LockError::Raced(MOST_RACES))
}

/// Changes it, as often as others are faster; gives what stands there then.
///
/// A write that took effect although its answer was lost is found by the next turn: `change` sees it.
pub(super) async fn change(
    store: &impl SemaphoreStore,
    change: impl Fn(&Semaphore) -> Result<Change, Refusal>,
) -> Result<Semaphore, LockError> {
    for _ in 0..MOST_RACES {
        let found = current(store).await?;
        let after = match change(&found.semaphore)? {
            Change::Keep => return Ok(found.semaphore),
            Change::Write(after) => after,
        };
        if store.replace(&found, &after).await? == Swap::Done {
            return Ok(after);
        }
    }
    Err(LockError::Raced(MOST_RACES))
}

/// A change that is refused where it `is_made` already. Not after a write of ours: the answer to one that took effect may
/// have got lost, and another endpoint tells what stands there since.
pub(super) fn once(
    is_made: impl Fn(&Semaphore) -> bool,
    change: impl Fn(&Semaphore) -> Result<Semaphore, Refusal>,
) -> impl Fn(&Semaphore) -> Result<Change, Refusal> {
    let has_written = AtomicBool::new(false);
    move |semaphore| {
        if has_written.load(Ordering::Relaxed) && is_made(semaphore) {
            return Ok(Change::Keep);
        }
        let after = change(semaphore)?;
        has_written.store(true, Ordering::Relaxed);
        Ok(Change::Write(after))
    }
}

/// Makes `id` a holder. Of one that is there already the same is written once more: an unlocking that was asked for
/// earlier, and may still be on its way, finds another state than it wants.
pub(super) async fn lock<S: SemaphoreStore>(
    store: &S,
    id: &str,
    note: &Note,
) -> Result<Semaphore, LockError> {
    change(store, |semaphore| {
        let after = match semaphore.lock(id) {
            Err(_) if semaphore.is_held_by(id) => semaphore.clone(),
            after => after?,
        };
        Ok(Change::Write(if S::HAS_NOTES {
            after.with_note(id, note.clone())
        } else {
            after
        }))
    })
    .await
}

/// Makes `id` no holder; fine if it is none. With `fence` something is written in any case, so that a write that was
/// asked for earlier, and may still be on its way, finds another state than it wants.
pub(super) async fn unlock(store: &impl SemaphoreStore, id: &str, fence: bool) -> Result<(), LockError> {
    // One that nobody has made isn't made for that: nothing on its way could find it.
    if store.read().await?.is_none() {
        return Ok(());
    }
    let changed = change(store, |semaphore| match semaphore.unlock(id) {
        Ok(after) => Ok(Change::Write(after)),
        Err(Refusal::Missing) if fence => Ok(Change::Write(semaphore.clone())),
        Err(Refusal::Missing) => Ok(Change::Keep),
        Err(refusal) => Err(refusal),
    });
    changed.await.map(drop)
}

/// Tells something about the holder `id`; whether it is one.
pub(super) async fn note<S: SemaphoreStore>(store: &S, id: &str, note: &Note) -> Result<bool, LockError> {
    let after = change(store, |semaphore| {
        let is_told = semaphore.notes.get(id) == Some(note);
        if !semaphore.is_held_by(id) || is_told || !S::HAS_NOTES {
            return Ok(Change::Keep);
        }
        Ok(Change::Write(semaphore.with_note(id, note.clone())))
    });
    Ok(after.await?.is_held_by(id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A store of several endpoints: the first has carried the first write out and is gone, the next finds it there.
    #[derive(Default)]
    struct Forgetful {
        kept: Mutex<Semaphore>,
        has_forgotten: AtomicBool,
    }

    impl SemaphoreStore for Forgetful {
        const HAS_NOTES: bool = true;

        async fn read(&self) -> Result<Option<Found>, LockError> {
            let semaphore = self.kept.lock().unwrap().clone();
            Ok(Some(Found {
                semaphore,
                revision: 1,
            }))
        }

        async fn create(&self, _: &Semaphore) -> Result<Swap, LockError> {
            Ok(Swap::Raced)
        }

        async fn replace(&self, _: &Found, semaphore: &Semaphore) -> Result<Swap, LockError> {
            *self.kept.lock().unwrap() = semaphore.clone();
            Ok(if self.has_forgotten.swap(true, Ordering::Relaxed) {
                Swap::Done
            } else {
                Swap::Raced
            })
        }
    }

    #[tokio::test]
    async fn an_answer_that_was_lost_is_no_refusal_and_what_stood_there_before_is() {
        let locking = || once(|found| found.is_held_by("a"), |found| found.lock("a"));
        let store = Forgetful::default();
        store.kept.lock().unwrap().max = 2;
        store.kept.lock().unwrap().semaphore = 2;
        assert!(change(&store, locking()).await.unwrap().is_held_by("a"));
        let refused = change(&store, locking()).await.unwrap_err();
        assert_eq!(refused.to_string(), "holder exists");

        let unlocking = || once(|found| !found.is_held_by("a"), |found| found.unlock("a"));
        store.has_forgotten.store(false, Ordering::Relaxed);
        assert!(!change(&store, unlocking()).await.unwrap().is_held_by("a"));
        let refused = change(&store, unlocking()).await.unwrap_err();
        assert_eq!(refused.to_string(), "holder does not exist");
    }
}
