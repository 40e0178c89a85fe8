//! The grammar of `update.conf`, `release` and `oem-release`.

use std::collections::BTreeMap;

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
