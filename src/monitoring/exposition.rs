//! Prometheus' text format (0.0.4), as far as metrics here need it.

use std::fmt::{self, Write as _};

use crate::printable::printable;

/// The kind of a family's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// The value may go up and down.
    Gauge,
    /// The value only grows, until a machine is set up anew.
    Counter,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        })
    }
}

/// A metric family: all samples of one name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    /// In one line, with its unit.
    pub(super) help: &'static str,
}

/// A value and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    labels: Vec<(&'static str, String)>,
    value: String,
}

impl Sample {
    /// A sample of a number.
    pub(super) fn of(value: impl Into<i128>) -> Self {
        Self::written(value.into().to_string())
    }

    /// A sample of milliseconds, written in seconds.
    pub(super) fn of_millis(millis: u64) -> Self {
        Self::written(format!("{}.{:03}", millis / 1000, millis % 1000))
    }

    fn written(value: String) -> Self {
        Self {
            labels: Vec::new(),
            value,
        }
    }

    /// Adds a label.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

/// Appends a family. One without samples is left out.
pub(super) fn append(text: &mut String, family: Family, samples: &[Sample]) {
    if samples.is_empty() {
        return;
    }
    let Family { name, kind, help } = family;
    // Writing to a string can't fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for Sample { labels, value } in samples {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    printable(value)
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_from_anywhere_stays_within_its_quotes() {
        let family = Family {
            name: "a_info",
            kind: MetricKind::Gauge,
            help: "Help.",
        };
        let mut text = String::new();
        append(&mut text, family, &[Sample::of(1).with("version", "1\"} 2\n\\")]);
        assert_eq!(
            text,
            "# HELP a_info Help.\n# TYPE a_info gauge\na_info{version=\"1\\\"} 2\\n\\\\\"} 1\n"
        );
        append(&mut text, family, &[]);
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn milliseconds_are_told_in_seconds() {
        assert_eq!(Sample::of_millis(61_007).value, "61.007");
    }
}
