//! `org.freedesktop.DBus.Properties` of our own objects on a bus, in place of the library's, which makes a task and a
//! record for each call and takes what can't be set for what isn't there.
//!
//! Everybody may read, as often and by as many connections as the bus lets them. So a record is made once for each
//! account, and calls are answered one after the other: readers cost no memory that grows with their number, and
//! whoever calls after them waits for short answers only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Serialize, Serializer};
use tokio::sync::watch;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::wire::{OwnedVariant, Signature, Type, Variant};
use zbus::{Connection, fdo, interface};

use super::Account;
use super::record::Record;

/// The properties of one object.
pub(super) struct Properties {
    /// The interface that has them.
    interface: &'static str,
    make: fn(&Account) -> Record,
    shown: Mutex<Shown>,
}

/// What the last call was answered with, until there is news.
struct Shown {
    account: watch::Receiver<Account>,
    record: Arc<Record>,
}

/// One record for many answers.
struct Shared(Arc<Record>);

impl Properties {
    pub(super) fn new(
        interface: &'static str,
        mut account: watch::Receiver<Account>,
        make: fn(&Account) -> Record,
    ) -> Self {
        let record = Arc::new(make(&account.borrow_and_update()));
        let shown = Mutex::new(Shown { account, record });
        Self {
            interface,
            make,
            shown,
        }
    }

    /// Has them asked for these instead of the library's at `path`. Before anybody knows the connection.
    pub(super) async fn replace(self, connection: &Connection, path: &str) -> zbus::Result<()> {
        let server = connection.object_server();
        server.remove::<fdo::Properties, _>(path).await?;
        server.at(path, self).await?;
        Ok(())
    }

    fn record(&self) -> Arc<Record> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // Without an engine there is no news.
        if shown.account.has_changed().unwrap_or(false) {
            let record = (self.make)(&shown.account.borrow_and_update());
            shown.record = Arc::new(record);
        }
        Arc::clone(&shown.record)
    }

    /// Those of `interface`: nothing for one that has none here.
    fn of(&self, interface: &str) -> fdo::Result<Arc<Record>> {
        match interface {
            name if name == self.interface => Ok(self.record()),
            "org.freedesktop.DBus.Properties"
            | "org.freedesktop.DBus.Introspectable"
            | "org.freedesktop.DBus.Peer" => Ok(Arc::default()),
            name => Err(fdo::Error::UnknownInterface(format!(
                "Unknown interface '{name}'"
            ))),
        }
    }
}

fn unknown(property: &str) -> fdo::Error {
    fdo::Error::UnknownProperty(format!("Unknown property '{property}'"))
}

#[interface(
    name = "org.freedesktop.DBus.Properties",
    spawn = false,
    introspection_docs = false
)]
impl Properties {
    #[zbus(out_args("value"))]
    fn get(&self, interface_name: &str, property_name: &str) -> fdo::Result<OwnedVariant> {
        let record = self.of(interface_name)?;
        record
            .get(property_name)
            .cloned()
            .ok_or_else(|| unknown(property_name))
    }

    #[zbus(out_args("properties"))]
    fn get_all(&self, interface_name: &str) -> fdo::Result<Shared> {
        self.of(interface_name).map(Shared)
    }

    fn set(&self, interface_name: &str, property_name: &str, value: &Variant<'_>) -> fdo::Result<()> {
        // Whatever it is.
        let _ = value;
        if self.of(interface_name)?.contains_key(property_name) {
            let text = format!("property '{property_name}' can't be set");
            return Err(fdo::Error::PropertyReadOnly(text));
        }
        Err(unknown(property_name))
    }

    #[zbus(signal)]
    async fn properties_changed(
        emitter: &SignalEmitter<'_>,
        interface_name: InterfaceName<'_>,
        changed_properties: HashMap<&str, Variant<'_>>,
        invalidated_properties: Vec<&str>,
    ) -> zbus::Result<()>;
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
    use super::super::engine1::properties;
    use super::super::{ENGINE_INTERFACE, Overview};
    use super::*;

    #[test]
    fn a_thousand_readers_share_one_record_until_there_is_news() {
        let (account, shown) = watch::channel(Account::default());
        let object = Properties::new(ENGINE_INTERFACE, shown, properties);
        let first = object.record();
        for _ in 0..1000 {
            assert!(Arc::ptr_eq(&object.record(), &first));
        }
        account.send_replace(Account {
            overview: Overview {
                summary: "news".to_owned(),
                ..Overview::default()
            },
            ..Account::default()
        });
        let second = object.record();
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(Arc::ptr_eq(&object.record(), &second));
        assert_ne!(second.get("Summary"), first.get("Summary"));
        drop((first, account));
        assert!(Arc::ptr_eq(&object.record(), &second));
    }
}
