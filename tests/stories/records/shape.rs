//! Whether something new has all that something old has, in the same form.

use std::collections::BTreeSet;

use serde_json::Value;

/// Words of an enumeration, and what people and programs compare: the value counts, not only its
/// form.
const WORDS: [&str; 8] = [
    "course", "asked_by", "outcome", "kind", "state", "cause", "version", "said",
];

pub(super) fn json(place: &str, old: &[u8], new: &[u8]) {
    let parse =
        |bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
    value(place, &parse(old), &parse(new));
}

fn value(place: &str, old: &Value, new: &Value) {
    match (old, new) {
        (Value::Null, _) | (Value::Bool(_), Value::Bool(_)) | (Value::String(_), Value::String(_)) => {}
        (Value::Number(old), Value::Number(new)) => assert_eq!(old.is_f64(), new.is_f64(), "{place}"),
        (Value::Array(old), Value::Array(new)) => {
            assert!(
                old.len() <= new.len(),
                "{place}: {} became {}",
                old.len(),
                new.len()
            );
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                value(&format!("{place}[{index}]"), old, new);
            }
        }
        (Value::Object(old), Value::Object(new)) => {
            for (key, old) in old {
                let place = format!("{place}.{key}");
                // Keys that are names of partitions differ from disk to disk.
                let new = new.get(key).or_else(|| new.values().find(|_| key.len() == 36));
                let Some(new) = new else {
                    panic!("{place} is not there any more")
                };
                // These come a moment later.
                if new.is_null() && ["last_check", "next_check"].contains(&key.as_str()) {
                    continue;
                }
                value(&place, old, new);
                if WORDS.contains(&key.as_str()) && old.is_string() {
                    assert_eq!(old, new, "{place}");
                }
            }
        }
        (old, new) => panic!("{place}: {old} became {new}"),
    }
}

/// Everything up to the reader's own part, whose beginning tells its form.
pub(super) fn checkpoint(place: &str, old: &[u8], new: &[u8]) {
    const IDENTITY: usize = 32 + 8 + 1 + 32;
    assert!(old[..IDENTITY] == new[..IDENTITY], "{place}: another identity");
}

/// Names, labels and kinds; not the values.
pub(super) fn metrics(place: &str, old: &[u8], new: &[u8]) {
    let (old, new) = (series(old), series(new));
    let gone: Vec<_> = old.difference(&new).collect();
    assert!(gone.is_empty(), "{place}: {gone:?}");
}

fn series(text: &[u8]) -> BTreeSet<String> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    let series = lines.filter(|line| !line.starts_with("# HELP"));
    let form = series.map(|line| match line.split_once(' ') {
        Some(("#", _)) | None => line.to_owned(),
        // The engine's version is its own.
        Some((series, _)) if series.starts_with("update_engine_info") => "update_engine_info".to_owned(),
        // Every disk has its own.
        Some((series, _)) => series
            .split(',')
            .filter(|label| !label.contains("partuuid"))
            .collect::<Vec<_>>()
            .join(","),
    });
    form.collect()
}

/// A number stays a number, and what is empty stays empty.
pub(super) fn text(place: &str, old: &[u8], new: &[u8]) {
    let form = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        (
            text.is_empty(),
            text.trim().parse::<i64>().is_ok(),
            text.ends_with('\n'),
        )
    };
    assert_eq!(form(old), form(new), "{place}");
}
