//! The properties of our own objects, as `org.freedesktop.DBus.Properties` shows them.
//!
//! Everybody may read, as often and by as many connections as the bus lets them: a record is made once for each
//! account, not once for each call.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::watch;
use zbus::fdo;
use zbus::wire::{OwnedVariant, Signature, Type, Variant};

use super::engine1;
use super::nodes::{Node, Object};
use super::record::{Record, one};
use crate::status::Snapshot;

/// Those of all objects.
pub(super) struct Properties {
    engine: Shown,
    diagnostics: Shown,
}

/// Those of one object.
struct Shown {
    make: fn(&Snapshot) -> Record,
    last: Mutex<Last>,
}

/// What the last call was answered with, until there is news.
struct Last {
    snapshot: watch::Receiver<Snapshot>,
    record: Arc<Record>,
}

/// One record for many answers.
#[derive(Debug)]
pub(super) struct Shared(Arc<Record>);

impl Properties {
    pub(super) fn new(snapshot: &watch::Receiver<Snapshot>) -> Self {
        Self {
            engine: Shown::new(snapshot.clone(), engine1::properties),
            diagnostics: Shown::new(snapshot.clone(), diagnostics),
        }
    }

    pub(super) fn get(&self, node: &Node, interface: &str, property: &str) -> fdo::Result<OwnedVariant> {
        let record = self.of(node, interface)?;
        record.get(property).cloned().ok_or_else(|| unknown(property))
    }

    pub(super) fn get_all(&self, node: &Node, interface: &str) -> fdo::Result<Shared> {
        self.of(node, interface).map(Shared)
    }

    /// Why it isn't set: none can be.
    pub(super) fn set(&self, node: &Node, interface: &str, property: &str) -> fdo::Error {
        match self.of(node, interface) {
            Ok(record) if record.contains_key(property) => {
                fdo::Error::PropertyReadOnly(format!("property '{property}' can't be set"))
            }
            Ok(_) => unknown(property),
            Err(error) => error,
        }
    }

    /// Those of `interface`: nothing for one that has none here.
    fn of(&self, node: &Node, interface: &str) -> fdo::Result<Arc<Record>> {
        match (node.object, interface) {
            (Some(object), name) if name == object.interface() => Ok(match object {
                Object::Engine => self.engine.record(),
                Object::Diagnostics => self.diagnostics.record(),
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

impl Shown {
    fn new(mut snapshot: watch::Receiver<Snapshot>, make: fn(&Snapshot) -> Record) -> Self {
        let record = Arc::new(make(&snapshot.borrow_and_update()));
        let last = Mutex::new(Last { snapshot, record });
        Self { make, last }
    }

    fn record(&self) -> Arc<Record> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Without an engine there is no news.
        if last.snapshot.has_changed().unwrap_or(false) {
            let record = (self.make)(&last.snapshot.borrow_and_update());
            last.record = Arc::new(record);
        }
        Arc::clone(&last.record)
    }
}

/// All properties of `/org/updateengine/Engine1/Diagnostics`, which the bus policy shows to those only who could read the
/// journal. Never signalled: signals reach everybody.
fn diagnostics(snapshot: &Snapshot) -> Record {
    let output = Variant::from(snapshot.diagnostics.rollback_output.clone());
    one("RollbackOutput", output).into_iter().collect()
}

fn unknown(property: &str) -> fdo::Error {
    fdo::Error::UnknownProperty(format!("Unknown property '{property}'"))
}

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (*self.0).serialize(serializer)
    }
}

impl Type for Shared {
    const SIGNATURE: &'static Signature = Record::SIGNATURE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Overview;

    #[test]
    fn a_thousand_readers_share_one_record_until_there_is_news() {
        let (snapshot, shown) = watch::channel(Snapshot::default());
        let object = Shown::new(shown, engine1::properties);
        let first = object.record();
        for _ in 0..1000 {
            assert!(Arc::ptr_eq(&object.record(), &first));
        }
        snapshot.send_replace(Snapshot {
            overview: Overview {
                summary: "news".to_owned(),
                ..Overview::default()
            },
            ..Snapshot::default()
        });
        let second = object.record();
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(Arc::ptr_eq(&object.record(), &second));
        assert_ne!(second.get("Summary"), first.get("Summary"));
        drop((first, snapshot));
        assert!(Arc::ptr_eq(&object.record(), &second));
    }
}
