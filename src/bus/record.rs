//! A record, encoded as an `a{sv}`.

use std::collections::HashMap;

use zbus::wire::{OwnedVariant, Variant};

/// A record as it travels.
pub(super) type Record = HashMap<String, OwnedVariant>;

pub(super) fn record(fields: impl Into<Variant<'static>>) -> Record {
    // A dictionary by construction, and its values may be owned, since none is a descriptor.
    Record::try_from(fields.into()).unwrap_or_default()
}

/// A record's field.
pub(super) fn one(name: &str, value: Variant<'static>) -> Option<(String, OwnedVariant)> {
    // It may be owned, since it is no descriptor.
    Some((name.to_owned(), OwnedVariant::try_from(value).ok()?))
}
