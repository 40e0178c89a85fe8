//! The files as they were read, and which of them decides.

use std::collections::BTreeMap;

use super::KeyValues;
use super::setting::{Place, Setting};
use super::table::SETTINGS;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This file, an absolute path of the host.
    File(&'static str),
    /// No file holds the key.
    Default,
    /// This file holds a value that can't be used; the default counts.
    Refused(&'static str),
}

/// What counts for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) value: &'a str,
    pub(super) origin: Origin,
}

/// The files that exist, in their order.
pub(super) struct Sources(Vec<(Place, &'static str, KeyValues)>);

impl Sources {
    /// Asks `read` for each file.
    pub(super) fn read(read: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let file = |place: Place, path: &'static str| {
            let text = read(path)?;
            Some((place, path, KeyValues::parse(&String::from_utf8_lossy(&text))))
        };
        let of = |place: Place| place.files().iter().map(move |path| (place, *path));
        let paths = of(Place::Update).chain(of(Place::Oem));
        Self(paths.filter_map(|(place, path)| file(place, path)).collect())
    }

    /// What the first file says that holds the key, or its default. An empty number or word is the default, too:
    /// that is how one unsets it in a file that comes before another.
    pub(super) fn find(&self, setting: &Setting) -> Found<'_> {
        let default = |origin| Found {
            value: setting.default,
            origin,
        };
        match self.first(setting) {
            Some((file, value)) if setting.kind.takes(value) => Found {
                value,
                origin: Origin::File(file),
            },
            None | Some((_, "")) => default(Origin::Default),
            Some((file, _)) => default(Origin::Refused(file)),
        }
    }

    pub(super) fn text(&self, setting: &Setting) -> String {
        self.find(setting).value.to_owned()
    }

    /// `None` where there is nothing in it.
    pub(super) fn non_empty(&self, setting: &Setting) -> Option<String> {
        Some(self.text(setting)).filter(|value| !value.is_empty())
    }

    /// Of a setting that is a number.
    pub(super) fn number(&self, setting: &Setting) -> u64 {
        // Invariant: defaults of numbers are numbers; a test looks at each.
        setting.kind.number(self.find(setting).value).unwrap_or_default()
    }

    /// All keys of the update files that begin so, ascending, and what the first file says that holds each.
    pub(super) fn beginning_with(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (_, _, values) in self.0.iter().filter(|(place, ..)| *place == Place::Update) {
            for key in values.keys().filter(|key| key.starts_with(prefix)) {
                let value = || values.get(key).unwrap_or_default().to_owned();
                found.entry(key.to_owned()).or_insert_with(value);
            }
        }
        found
    }

    /// Which settings have a value that can't be used, as `KEY=value`. Secrets are never among them: any text is one.
    pub(super) fn refused(&self) -> Vec<String> {
        let refused = |setting: &&&Setting| matches!(self.find(setting).origin, Origin::Refused(_));
        let tell = |setting: &&Setting| {
            let value = self.first(setting).map_or("", |(_, value)| value);
            format!("{}={value}", setting.key)
        };
        SETTINGS.iter().filter(refused).map(tell).collect()
    }

    /// The first file that holds the key, and what it says.
    fn first(&self, setting: &Setting) -> Option<(&'static str, &str)> {
        let mut files = self.0.iter().filter(|(place, ..)| *place == setting.place);
        files.find_map(|(_, path, values)| Some((*path, values.get(setting.key)?)))
    }
}
