//! The properties of the object `/org/updateengine/Engine1`: what the five fields of the original's
//! interface can't say.
//!
//! They are made from the snapshot that the engine publishes, and don't wait for the engine.

use std::collections::HashMap;

use zbus::Connection;
use zbus::wire::Variant;

use super::properties::{Dictionary, dictionary, entry};
use super::{ENGINE_INTERFACE, ENGINE_PATH};
use crate::status::{Overview, Snapshot};

/// The name of the property that lists the last attempts.
pub(super) const ATTEMPTS: &str = "Attempts";

/// The properties whose values differ between two snapshots.
#[derive(Debug)]
pub(super) struct Changes {
    /// Those that are signalled with their values.
    changed: Dictionary,
    /// Those whose values are not signalled: clients ask for them.
    invalidated: Vec<&'static str>,
}

impl Changes {
    /// The changes from `before` to `after`; none if both show the same.
    pub(super) fn between(before: &Snapshot, after: &Snapshot) -> Option<Self> {
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

/// The properties whose changes are signalled with their values, by their names on the bus.
fn signalled(overview: &Overview) -> Dictionary {
    dictionary(overview.clone())
}

/// All properties by their names on the bus.
pub(super) fn properties(snapshot: &Snapshot) -> Dictionary {
    let Snapshot {
        overview, attempts, ..
    } = snapshot.clone();
    let mut all = dictionary(Overview {
        boot_warnings: Some(overview.boot_warnings.unwrap_or_default()),
        config_warnings: Some(overview.config_warnings.unwrap_or_default()),
        ..overview
    });
    all.extend(entry(ATTEMPTS, Variant::from(attempts)));
    all
}
