//! Deserializers for records of other versions: a value that can't be read has its default, and the
//! rest counts.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// Longest text made of a value that should be a text, in characters.
const LONGEST: usize = 200;

/// The value, or its default if it has a form that is not known here.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// The elements of a list that have a known form.
pub(crate) fn known<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let values: Vec<Value> = or_default(deserializer)?;
    let known = values.into_iter().filter_map(|value| T::deserialize(value).ok());
    Ok(known.collect())
}

/// The entries of a map that have a known form.
pub(crate) fn known_by_name<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let values: BTreeMap<String, Value> = or_default(deserializer)?;
    let known = values
        .into_iter()
        .filter_map(|(name, value)| Some((name, T::deserialize(value).ok()?)));
    Ok(known.collect())
}

/// A text; any other value as its text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string().chars().take(LONGEST).collect(),
    })
}

/// Cause of a rollback, which is never empty: an unknown cause is still a cause.
pub(crate) fn cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = text(deserializer)?;
    Ok(if text.is_empty() { unknown_cause() } else { text })
}

/// Text for a cause that isn't known.
pub(crate) fn unknown_cause() -> String {
    "for a cause that this version doesn't know".to_owned()
}
