//! The object `/org/updateengine/Engine1`: what the five fields of the first interface can't say.
//!
//! Its properties are read from the account that the engine publishes, and don't wait for the engine; its
//! methods are [`Command`](super::Command)s.

use std::collections::HashMap;

use tokio::sync::watch;
use zbus::wire::Variant;
use zbus::{Connection, interface};

use super::order::{OrderError, Orders};
use super::record::{Record, one, record};
use super::{Account, ENGINE_INTERFACE, ENGINE_PATH, OfferSource, Overview, Stand};

/// The property of the last attempts.
pub(super) const ATTEMPTS: &str = "Attempts";

/// The interface `org.updateengine.Engine1` of one connection.
pub(super) struct Engine1 {
    pub(super) orders: Orders,
    pub(super) account: watch::Receiver<Account>,
}

impl Engine1 {
    fn look<T>(&self, field: impl FnOnce(&Overview) -> T) -> T {
        field(&self.account.borrow().overview)
    }
}

#[interface(name = "org.updateengine.Engine1", introspection_docs = false)]
impl Engine1 {
    /// Checks now and installs what is offered; answered as soon as that has begun. Nothing to do is fine.
    async fn check(&self) -> Result<(), OrderError> {
        self.orders.check().await
    }

    /// What would come of the last offer now: asks no update server, looks at everything, changes nothing.
    #[zbus(out_args("preview"))]
    async fn preview(&self) -> Result<Record, OrderError> {
        self.orders.preview(OfferSource::LastCheck).await
    }

    /// The same of the offer that the server makes now, which it may count as granted.
    #[zbus(out_args("preview"))]
    async fn preview_asking(&self) -> Result<Record, OrderError> {
        self.orders.preview(OfferSource::Server).await
    }

    /// Takes back that an update or a rollback waits for the reboot; the slot may be made not to boot, too.
    async fn reset(&self, withdraw_slot: bool) -> Result<(), OrderError> {
        self.orders.reset(withdraw_slot).await
    }

    /// Makes the other slot the next to boot, if it was marked good and not touched since.
    async fn roll_back(&self) -> Result<(), OrderError> {
        self.orders.roll_back().await
    }

    /// Breaks off the update that is under way; it can be taken up again from where it was.
    async fn cancel(&self) -> Result<(), OrderError> {
        self.orders.cancel().await
    }

    /// Marks the running slot good and puts it first, whatever its health.
    async fn mark_good(&self) -> Result<(), OrderError> {
        self.orders.mark_good().await
    }

    #[zbus(property)]
    fn state(&self) -> Stand {
        self.look(|overview| overview.state)
    }

    #[zbus(property)]
    fn summary(&self) -> String {
        self.look(|overview| overview.summary.clone())
    }

    #[zbus(property)]
    fn running_version(&self) -> String {
        self.look(|overview| overview.running_version.clone())
    }

    #[zbus(property)]
    fn waiting_version(&self) -> String {
        self.look(|overview| overview.waiting_version.clone())
    }

    #[zbus(property)]
    fn progress(&self) -> Record {
        self.look(|overview| record(overview.progress.clone()))
    }

    #[zbus(property)]
    fn slots(&self) -> Vec<Record> {
        self.look(|overview| overview.slots.iter().cloned().map(record).collect())
    }

    #[zbus(property)]
    fn trial(&self) -> String {
        self.look(|overview| overview.trial.clone())
    }

    #[zbus(property)]
    fn last_check(&self) -> Record {
        self.look(|overview| record(overview.last_check.clone()))
    }

    #[zbus(property)]
    fn next_check(&self) -> Record {
        self.look(|overview| record(overview.next_check.clone()))
    }

    #[zbus(property)]
    fn no_update(&self) -> Record {
        self.look(|overview| record(overview.no_update.clone()))
    }

    #[zbus(property)]
    fn last_failure(&self) -> Record {
        self.look(|overview| record(overview.last_failure.clone()))
    }

    /// That it has changed is signalled, without the value: few ask.
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn attempts(&self) -> Vec<Record> {
        let account = self.account.borrow();
        account.attempts.iter().cloned().map(record).collect()
    }

    #[zbus(property)]
    fn rollback(&self) -> Record {
        self.look(|overview| record(overview.rollback.clone()))
    }

    #[zbus(property)]
    fn boot_warnings(&self) -> Vec<String> {
        self.look(|overview| overview.boot_warnings.clone().unwrap_or_default())
    }

    #[zbus(property)]
    fn config_warnings(&self) -> Vec<String> {
        self.look(|overview| overview.config_warnings.clone().unwrap_or_default())
    }
}

/// The properties whose values differ between two accounts.
#[derive(Debug)]
pub(super) struct Changes {
    /// With their values.
    changed: Record,
    /// Those whose values are only sent to who asks.
    invalidated: Vec<&'static str>,
}

impl Changes {
    /// What turns `before` into `after`; nothing if they show the same.
    pub(super) fn between(before: &Account, after: &Account) -> Option<Self> {
        let mut changed = signalled(&after.overview);
        let old = signalled(&before.overview);
        changed.retain(|name, value| old.get(name) != Some(value));
        let invalidated = if before.attempts == after.attempts {
            Vec::new()
        } else {
            vec![ATTEMPTS]
        };
        let is_news = !(changed.is_empty() && invalidated.is_empty());
        is_news.then_some(Self { changed, invalidated })
    }

    /// Emits them as one `PropertiesChanged`.
    pub(super) async fn emit(&self, connection: &Connection) -> zbus::Result<()> {
        let changed = self.changed.iter().map(|(name, value)| (name.as_str(), &**value));
        let changed = changed.collect::<HashMap<&str, &Variant<'_>>>();
        connection
            .emit_signal(
                Option::<&str>::None,
                ENGINE_PATH,
                "org.freedesktop.DBus.Properties",
                "PropertiesChanged",
                &(ENGINE_INTERFACE, changed, &self.invalidated),
            )
            .await
    }
}

/// Those whose changes are signalled with their values, by their names on the bus.
fn signalled(overview: &Overview) -> Record {
    record(overview.clone())
}

/// All properties by their names on the bus.
pub(super) fn properties(account: &Account) -> Record {
    let Account {
        overview, attempts, ..
    } = account.clone();
    let mut all = record(Overview {
        boot_warnings: Some(overview.boot_warnings.unwrap_or_default()),
        config_warnings: Some(overview.config_warnings.unwrap_or_default()),
        ..overview
    });
    all.extend(one(ATTEMPTS, Variant::from(attempts)));
    all
}
