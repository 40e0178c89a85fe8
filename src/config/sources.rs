//! The configuration files as they were read: the grammar of `update.conf`, `release` and
//! `oem-release`, and the precedence of the files.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::lint;
use super::setting::{Place, Setting};
use super::table::SETTINGS;
use crate::host::Unreadable;

/// The pairs of one file.
///
/// A line is split at its first `=`; a line without one is nothing. Nothing is trimmed and `#` is
/// an ordinary character, since the original engine and shell scripts have always read the same
/// files this way. A value of two or more characters loses one pair of equal quotes (`"` or `'`)
/// around it. The last line of a key counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyValues(BTreeMap<String, String>);

impl KeyValues {
    /// Reads `text`; every text is valid.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('\n').filter_map(|line| line.split_once('='));
        Self(
            pairs
                .map(|(key, value)| (key.to_owned(), unquote(value).to_owned()))
                .collect(),
        )
    }

    /// All keys, ascending.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The value of `key`, if the file has a line for it; it may be empty.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

fn unquote(value: &str) -> &str {
    ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))
        .unwrap_or(value)
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueOrigin {
    /// This file, an absolute path of the host.
    File(&'static str),
    /// No file holds the key.
    Default,
    /// This file holds a value that can't be used; the default counts.
    Refused(&'static str),
}

/// What counts for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundValue<'a> {
    pub(super) value: &'a str,
    pub(super) origin: ValueOrigin,
}

/// One file that exists.
struct ConfigFile {
    place: Place,
    path: &'static str,
    text: String,
    values: KeyValues,
}

/// The files that exist, in their order.
pub(super) struct ConfigFiles(Vec<ConfigFile>);

impl ConfigFiles {
    /// Asks `read` for each file of these places.
    pub(super) fn read(
        places: &[Place],
        read: impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable>,
    ) -> Result<Self, Unreadable> {
        let mut sources = Vec::new();
        for place in places {
            for path in place.files() {
                let Some(bytes) = read(path)? else { continue };
                let text = String::from_utf8_lossy(&bytes).into_owned();
                sources.push(ConfigFile {
                    place: *place,
                    path,
                    values: KeyValues::parse(&text),
                    text,
                });
            }
        }
        Ok(Self(sources))
    }

    /// Lines that almost are settings, each with its file and number.
    pub(super) fn lint(&self) -> Vec<String> {
        let of = |source: &ConfigFile| lint::in_file(source.path, source.place, &source.text);
        self.0.iter().flat_map(of).collect()
    }

    /// Tells contents of the files from others.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for source in &self.0 {
            (source.path, &source.text).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Of a setting that is a yes or a no.
    pub(super) fn is_on(&self, setting: &Setting) -> bool {
        matches!(self.find(setting).value, "yes" | "true" | "on" | "1")
    }

    /// What the first file says that holds the key, or its default. An empty number or word is the
    /// default, too: that is how one unsets it in a file that comes before another.
    pub(super) fn find(&self, setting: &Setting) -> FoundValue<'_> {
        match self.first(setting) {
            Some((file, value)) if setting.kind.takes(value) => FoundValue {
                value,
                origin: ValueOrigin::File(file),
            },
            None | Some((_, "")) => FoundValue {
                value: setting.default,
                origin: ValueOrigin::Default,
            },
            Some((file, _)) => FoundValue {
                value: setting.otherwise,
                origin: ValueOrigin::Refused(file),
            },
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

    /// All keys of the update files that begin so, ascending, and what the first file says that
    /// holds each.
    pub(super) fn beginning_with(&self, prefix: &str) -> BTreeMap<String, (&'static str, String)> {
        let mut found = BTreeMap::new();
        for ConfigFile { values, path, .. } in self.0.iter().filter(|source| source.place == Place::Update) {
            for key in values.keys().filter(|key| key.starts_with(prefix)) {
                let value = || (*path, values.get(key).unwrap_or_default().to_owned());
                found.entry(key.to_owned()).or_insert_with(value);
            }
        }
        found
    }

    /// Which settings have a value that can't be used, as `KEY=value`. Secrets are never among
    /// them: any text is one.
    pub(super) fn refused(&self) -> Vec<String> {
        let refused = |setting: &&&Setting| matches!(self.find(setting).origin, ValueOrigin::Refused(_));
        let tell = |setting: &&Setting| {
            let value = self.first(setting).map_or("", |(_, value)| value);
            format!("{}={value}", setting.key)
        };
        SETTINGS.iter().filter(refused).map(tell).collect()
    }

    /// The first file that holds the key, and what it says.
    fn first(&self, setting: &Setting) -> Option<(&'static str, &str)> {
        let mut files = self.0.iter().filter(|source| source.place == setting.place);
        files.find_map(|source| Some((source.path, source.values.get(setting.key)?)))
    }
}
