//! The properties of our own objects, as `org.freedesktop.DBus.Properties` shows them. Those of
//! `/org/updateengine/Engine1` say what the five fields of the original's interface can't.
//!
//! They are made from the snapshot that the engine publishes, and don't wait for the engine. Anyone may
//! read, as often and by as many connections as the bus lets them: a dictionary is made once for each
//! snapshot, not once for each call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::watch;
use zbus::wire::{OwnedVariant, Signature, Type, Variant};
use zbus::{Connection, fdo};

use super::object_tree::{Object, TreeNode};
use super::{ENGINE_INTERFACE, ENGINE_PATH};
use crate::status::{Overview, Snapshot};

/// A dictionary of named values as it travels: an `a{sv}`.
pub(super) type Dictionary = HashMap<String, OwnedVariant>;

/// A dictionary of `fields`, a type that encodes as a dictionary.
pub(super) fn dictionary(fields: impl Into<Variant<'static>>) -> Dictionary {
    // A dictionary by construction, and its values may be owned, since none is a descriptor.
    Dictionary::try_from(fields.into()).unwrap_or_default()
}

/// One entry of a dictionary.
pub(super) fn entry(name: &str, value: Variant<'static>) -> Option<(String, OwnedVariant)> {
    // It may be owned, since it is no descriptor.
    Some((name.to_owned(), OwnedVariant::try_from(value).ok()?))
}

/// The properties of all objects.
pub(super) struct Properties {
    engine: PropertyCache,
    diagnostics: PropertyCache,
}

/// The properties of one object, encoded once for each snapshot.
struct PropertyCache {
    make: fn(&Snapshot) -> Dictionary,
    last: Mutex<Last>,
}

/// The dictionary that the last call was answered with, until there is another snapshot.
struct Last {
    snapshot: watch::Receiver<Snapshot>,
    dictionary: Arc<Dictionary>,
}

/// One dictionary that many answers share.
#[derive(Debug)]
pub(super) struct SharedDictionary(Arc<Dictionary>);

impl Properties {
    pub(super) fn new(snapshot: &watch::Receiver<Snapshot>) -> Self {
        Self {
            engine: PropertyCache::new(snapshot.clone(), properties),
            diagnostics: PropertyCache::new(snapshot.clone(), diagnostics),
        }
    }

    pub(super) fn get(&self, node: &TreeNode, interface: &str, property: &str) -> fdo::Result<OwnedVariant> {
        let dictionary = self.of(node, interface)?;
        dictionary.get(property).cloned().ok_or_else(|| unknown(property))
    }

    pub(super) fn get_all(&self, node: &TreeNode, interface: &str) -> fdo::Result<SharedDictionary> {
        self.of(node, interface).map(SharedDictionary)
    }

    /// The error of an attempt to set a property: none can be set.
    pub(super) fn set(&self, node: &TreeNode, interface: &str, property: &str) -> fdo::Error {
        match self.of(node, interface) {
            Ok(dictionary) if dictionary.contains_key(property) => {
                fdo::Error::PropertyReadOnly(format!("property '{property}' can't be set"))
            }
            Ok(_) => unknown(property),
            Err(error) => error,
        }
    }

    /// The properties of `interface`; none for an interface that has none here.
    fn of(&self, node: &TreeNode, interface: &str) -> fdo::Result<Arc<Dictionary>> {
        match (node.object, interface) {
            (Some(object), name) if name == object.interface() => Ok(match object {
                Object::Engine => self.engine.dictionary(),
                Object::Diagnostics => self.diagnostics.dictionary(),
                Object::Manager | Object::Control => Arc::default(),
            }),
            (
                _,
                "org.freedesktop.DBus.Properties"
                | "org.freedesktop.DBus.Introspectable"
                | "org.freedesktop.DBus.Peer",
            ) => Ok(Arc::default()),
            (_, name) => Err(fdo::Error::UnknownInterface(format!(
                "Unknown interface '{name}'"
            ))),
        }
    }
}

impl PropertyCache {
    fn new(mut snapshot: watch::Receiver<Snapshot>, make: fn(&Snapshot) -> Dictionary) -> Self {
        let dictionary = Arc::new(make(&snapshot.borrow_and_update()));
        let last = Mutex::new(Last { snapshot, dictionary });
        Self { make, last }
    }

    fn dictionary(&self) -> Arc<Dictionary> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Without an engine there are no further snapshots.
        if last.snapshot.has_changed().unwrap_or(false) {
            let dictionary = (self.make)(&last.snapshot.borrow_and_update());
            last.dictionary = Arc::new(dictionary);
        }
        Arc::clone(&last.dictionary)
    }
}

/// All properties of `/org/updateengine/Engine1/Diagnostics`, which the bus policy shows only to
/// users who may read the journal. Never signalled: signals reach every client.
fn diagnostics(snapshot: &Snapshot) -> Dictionary {
    let output = Variant::from(snapshot.diagnostics.rollback_output.clone());
    entry("RollbackOutput", output).into_iter().collect()
}

fn unknown(property: &str) -> fdo::Error {
    fdo::Error::UnknownProperty(format!("Unknown property '{property}'"))
}

impl Serialize for SharedDictionary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (*self.0).serialize(serializer)
    }
}

impl Type for SharedDictionary {
    const SIGNATURE: &'static Signature = Dictionary::SIGNATURE;
}

/// The name of the property that lists the last attempts.
pub(super) const ATTEMPTS: &str = "Attempts";
/// The name of the property that tells of the gate without configuration.
pub(super) const HEALTH: &str = "Health";

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
        let differ = [
            (ATTEMPTS, before.attempts != after.attempts),
            (HEALTH, before.health != after.health),
        ];
        let invalidated: Vec<_> = differ
            .into_iter()
            .filter_map(|(name, differs)| differs.then_some(name))
            .collect();
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
        overview,
        attempts,
        health,
        ..
    } = snapshot.clone();
    let mut all = dictionary(Overview {
        boot_warnings: Some(overview.boot_warnings.unwrap_or_default()),
        extension_warnings: Some(overview.extension_warnings.unwrap_or_default()),
        config_warnings: Some(overview.config_warnings.unwrap_or_default()),
        health_warnings: Some(overview.health_warnings.unwrap_or_default()),
        trial_deadline: Some(overview.trial_deadline.unwrap_or_default()),
        installed_updates: Some(overview.installed_updates.unwrap_or_default()),
        ..overview
    });
    all.extend(entry(ATTEMPTS, Variant::from(attempts)));
    all.extend(entry(HEALTH, Variant::from(health)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Overview;

    #[test]
    fn a_thousand_readers_share_one_record_until_there_is_news() {
        let (snapshot, shown) = watch::channel(Snapshot::default());
        let object = PropertyCache::new(shown, properties);
        let first = object.dictionary();
        for _ in 0..1000 {
            assert!(Arc::ptr_eq(&object.dictionary(), &first));
        }
        snapshot.send_replace(Snapshot {
            overview: Overview {
                summary: "news".to_owned(),
                ..Overview::default()
            },
            ..Snapshot::default()
        });
        let second = object.dictionary();
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(Arc::ptr_eq(&object.dictionary(), &second));
        assert_ne!(second.get("Summary"), first.get("Summary"));
        drop((first, snapshot));
        assert!(Arc::ptr_eq(&object.dictionary(), &second));
    }
}
