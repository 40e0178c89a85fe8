//! `Maybe`: an optional record. D-Bus has no null; `None` is encoded as an empty `a{sv}`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use zbus::wire::{Signature, Type, Variant};

/// An optional record. On the bus `None` is an empty `a{sv}`, since D-Bus has no null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Maybe<T>(pub Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Option<T>> for Maybe<T> {
    fn from(record: Option<T>) -> Self {
        Self(record)
    }
}

impl<T: Type> Type for Maybe<T> {
    const SIGNATURE: &'static Signature = <HashMap<String, Variant<'static>> as Type>::SIGNATURE;
}

impl<'v, T: Into<Variant<'v>>> From<Maybe<T>> for Variant<'v> {
    fn from(Maybe(record): Maybe<T>) -> Self {
        match record {
            Some(record) => record.into(),
            None => HashMap::<String, Variant<'v>>::new().into(),
        }
    }
}

impl<'v, T: TryFrom<Variant<'v>, Error = zbus::Error>> TryFrom<Variant<'v>> for Maybe<T> {
    type Error = zbus::Error;

    fn try_from(value: Variant<'v>) -> zbus::Result<Self> {
        match &value {
            Variant::Dict(dict) if dict.iter().next().is_none() => Ok(Self(None)),
            _ => T::try_from(value).map(|record| Self(Some(record))),
        }
    }
}
