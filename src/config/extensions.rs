//! Settings of the packages beside the payload that the daemon puts in place itself: `EXTENSIONS`,
//! `EXTENSIONS_DIRECTORY`; and of those that the node has: `EXTENSIONS_JUDGED`.

use super::sources::ConfigFiles;
use super::table;
use crate::plan::ExtensionJudging;

/// Extensions of an offer, which the daemon downloads and puts in place together with the slot, and
/// those of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionSettings {
    /// `EXTENSIONS`: which ones; none by default.
    pub wanted: Vec<ExtensionPattern>,
    /// `EXTENSIONS_DIRECTORY`: where each version has its directory; an absolute path of the host.
    pub directory: String,
    /// `EXTENSIONS_JUDGED`: what becomes of an update that would not merge the node's own; a
    /// warning by default.
    pub judged: ExtensionJudging,
}

/// The name of an extension, or a pattern for several, in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionPattern(String);

impl ExtensionPattern {
    /// Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, if it is one and no pattern for several.
    #[must_use]
    pub fn one(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// Whether it is the name, or the pattern fits it.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl ExtensionSettings {
    pub(super) fn read(sources: &ConfigFiles) -> Self {
        let wanted = sources.text(&table::EXTENSIONS);
        Self {
            wanted: wanted.split_whitespace().map(ExtensionPattern::new).collect(),
            directory: sources
                .non_empty(&table::EXTENSIONS_DIRECTORY)
                .unwrap_or_else(|| table::EXTENSIONS_DIRECTORY.default.to_owned()),
            judged: match sources.find(&table::EXTENSIONS_JUDGED).value {
                "off" => ExtensionJudging::Off,
                "refuse" => ExtensionJudging::Refuse,
                _ => ExtensionJudging::Warn,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        let fits = |pattern: &str, name| ExtensionPattern::new(pattern).matches(name);
        assert!(
            fits("oem-azure", "oem-azure") && !fits("oem-azure", "oem-azure2") && !fits("oem", "oem-azure")
        );
        assert!(
            fits("flatcar-*", "flatcar-")
                && fits("flatcar-*", "flatcar-zfs")
                && !fits("flatcar-*", "oem-zfs")
        );
        assert!(fits("*", "x") && fits("a*b*c", "a1b2c") && fits("*-1.*", "py-1.2"));
        assert!(!fits("a*a", "a") && !fits("a*b*c", "acb") && !fits("a.c", "abc"));
    }
}
