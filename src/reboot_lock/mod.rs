//! The lock among nodes that reboot, on the servers that keep one: etcd, by its v2 API as locksmith does and by v3, and
//! `FleetLock`.
//!
//! ```text
//!  settings ─▶ Lock ─┬─ none
//!                    ├─ SemaphoreStore: etcd v2, etcd v3 ── read, compare and swap ─▶ Semaphore, locksmith's JSON
//!                    └─ FleetLock ── pre-reboot, steady-state
//! ```
//!
//! What must hold: never more holders than places; whatever is on its way when an operation is given up is overtaken by the
//! next one; nothing here ends a lock by time.

mod error;
mod etcd_v2;
mod etcd_v3;
mod file_lock;
mod fleet_lock;
mod http;
mod locksmith_unit;
mod report;
mod semaphore;
mod settings;
mod store;

use std::sync::atomic::{AtomicI64, Ordering};

pub use error::{LockError, SettingsFault};
pub use report::{COORDINATOR, MANAGER_NAME, ManagerReport, publish};
pub use semaphore::{Note, Refusal, Semaphore};
pub use settings::{MANAGER_SETTINGS, ManagerSetting, ManagerValues, Strategy, manager_reference};

use etcd_v2::EtcdV2;
use etcd_v3::EtcdV3;
use fleet_lock::{FleetLock, Taken};
use store::{Change, SemaphoreStore};

/// A lock, and the id that this node holds it by.
#[derive(Debug)]
pub struct Lock(Kind, String);

/// The kinds of locks.
#[derive(Debug)]
enum Kind {
    /// None: every node goes when it wants.
    None,
    /// In etcd, as locksmith's.
    EtcdV2(EtcdV2, String),
    /// In etcd as it comes today.
    EtcdV3(EtcdV3, String),
    /// At a `FleetLock` server.
    FleetLock(FleetLock, String),
}

/// Outcome of a try to take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// This node is a holder.
    Held,
    /// Others are; in words.
    Taken(String),
}

/// Outcome of a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// This node is a holder.
    Held,
    /// It is none.
    NotHeld,
    /// The server doesn't tell.
    Unknown,
}

impl Lock {
    /// No lock: every node goes when it wants.
    #[must_use]
    pub const fn none() -> Self {
        Self(Kind::None, String::new())
    }

    /// The id that this node holds it by; empty without a lock.
    #[must_use]
    pub fn id(&self) -> &str {
        match &self.0 {
            Kind::None => "",
            Kind::EtcdV2(_, id) | Kind::EtcdV3(_, id) | Kind::FleetLock(_, id) => id,
        }
    }

    /// Which lock it is: API and key, or server and group; empty without one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.1
    }

    /// Whether holders can be listed, and released for others.
    #[must_use]
    pub const fn lists_holders(&self) -> bool {
        matches!(self.0, Kind::EtcdV2(..) | Kind::EtcdV3(..))
    }

    /// Makes this node a holder, and tells why where there is room.
    ///
    /// # Errors
    /// [`LockError`]: it may be one all the same.
    pub async fn lock(&self, note: &Note) -> Result<Acquired, LockError> {
        match &self.0 {
            Kind::None => Ok(Acquired::Held),
            Kind::EtcdV2(store, id) => acquired(store, id, note).await,
            Kind::EtcdV3(store, id) => acquired(store, id, note).await,
            Kind::FleetLock(server, _) => Ok(match server.lock().await? {
                Taken::ByUs => Acquired::Held,
                Taken::ByOthers(who) => Acquired::Taken(who),
            }),
        }
    }

    /// Makes it none; with `fence` even if something is on its way that would make it one.
    ///
    /// # Errors
    /// [`LockError`]: it may still be one.
    pub async fn unlock(&self, fence: bool) -> Result<(), LockError> {
        match &self.0 {
            Kind::None => Ok(()),
            Kind::EtcdV2(store, id) => store::unlock(store, id, fence).await,
            Kind::EtcdV3(store, id) => store::unlock(store, id, fence).await,
            Kind::FleetLock(server, _) => server.unlock().await,
        }
    }

    /// Tells something about this node where there is room, and looks whether it is a holder.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn note(&self, note: &Note) -> Result<Look, LockError> {
        let is_held = match &self.0 {
            Kind::None | Kind::FleetLock(..) => return Ok(Look::Unknown),
            Kind::EtcdV2(store, id) => store::note(store, id, note).await?,
            Kind::EtcdV3(store, id) => store::note(store, id, note).await?,
        };
        Ok(if is_held { Look::Held } else { Look::NotHeld })
    }

    /// The semaphore, for operators; made if there is none, as locksmithctl does.
    ///
    /// # Errors
    /// [`LockError::NotOffered`] without etcd.
    pub async fn semaphore(&self) -> Result<Semaphore, LockError> {
        self.change("tell its holders", |_| Ok(Change::Keep)).await
    }

    /// Takes it for a node, as locksmithctl does: not twice.
    ///
    /// # Errors
    /// [`LockError::Refused`] with locksmith's words.
    pub async fn lock_for(&self, id: &str) -> Result<Semaphore, LockError> {
        let change = store::once(
            |semaphore| semaphore.is_held_by(id),
            |semaphore| semaphore.lock(id),
        );
        self.change("lock for another node", change).await
    }

    /// Releases it for a node, as locksmithctl does.
    ///
    /// # Errors
    /// [`LockError::Refused`] with locksmith's words.
    pub async fn release_for(&self, id: &str) -> Result<Semaphore, LockError> {
        let change = store::once(
            |semaphore| !semaphore.is_held_by(id),
            |semaphore| semaphore.unlock(id),
        );
        self.change("release what another node holds", change).await
    }

    /// Sets the number of places; gives the one before.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn set_max(&self, max: i64) -> Result<i64, LockError> {
        let before = AtomicI64::new(0);
        self.change("change its places", |semaphore| {
            before.store(semaphore.max, Ordering::Relaxed);
            Ok(Change::Write(semaphore.with_max(max)))
        })
        .await?;
        Ok(before.into_inner())
    }

    async fn change(
        &self,
        what: &'static str,
        change: impl Fn(&Semaphore) -> Result<Change, Refusal>,
    ) -> Result<Semaphore, LockError> {
        match &self.0 {
            Kind::None | Kind::FleetLock(..) => Err(LockError::NotOffered(what)),
            Kind::EtcdV2(store, _) => store::change(store, change).await,
            Kind::EtcdV3(store, _) => store::change(store, change).await,
        }
    }
}

async fn acquired<S: SemaphoreStore>(store: &S, id: &str, note: &Note) -> Result<Acquired, LockError> {
    match store::lock(store, id, note).await {
        Ok(_) => Ok(Acquired::Held),
        Err(LockError::Refused(_)) => {
            let semaphore = store::current(store).await?.semaphore;
            let holders = semaphore.holders().iter().map(|holder| {
                let note = semaphore.notes.get(holder);
                match note.map(|note| note.cause.as_str()) {
                    None | Some("") => holder.clone(),
                    Some(cause) => format!("{holder} ({cause})"),
                }
            });
            let holders: Vec<_> = holders.take(8).collect();
            let holders = crate::printable::printable(&holders.join(", ")).into_owned();
            Ok(Acquired::Taken(format!(
                "{} of {} places, by {holders}",
                semaphore.holders().len(),
                semaphore.max
            )))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod other_servers;
