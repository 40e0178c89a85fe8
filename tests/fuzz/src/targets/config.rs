//! Configuration files of the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use update_engine::config::{
    Config, ExtensionPattern, KeyValues, OEM_FILES, Place, SETTINGS, UPDATE_FILES, ValueKind, ValueOrigin,
    effective,
};

use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "config",
    property: "Of each key the first file's last line counts, or the default; numbers are in their range, words \
               are known ones; each value that isn't taken is named in a warning.",
    check,
};

/// Values that settings take or nearly take.
const VALUES: [&str; 14] = [
    "yes",
    "no",
    "refuse",
    "0",
    "1",
    "45",
    "99999999999999999999",
    "-1",
    "\"quoted\"",
    "'",
    "=",
    "a.service b*",
    "disabled",
    "http://u:p@h/",
];

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let files: BTreeMap<&str, Vec<u8>> = [&UPDATE_FILES[..], &OEM_FILES]
        .concat()
        .into_iter()
        .filter_map(|path| Some((path, file(&mut input)?)))
        .collect();
    let read = |path: &str| Ok(files.get(path).cloned());
    let config = Config::load(read).expect("every file can be read");
    let mut values = effective(read).expect("likewise");
    if bug.strikes(files.len() > 1) {
        for value in values
            .iter_mut()
            .filter(|value| value.setting.key == "HEALTH_SETTLE")
        {
            value.value.truncate(1);
        }
    }
    let warnings = config.warnings();
    for value in values {
        let setting = value.setting;
        let found = naive(&files, setting.place, setting.key);
        let expected = match &found {
            Some(text) if setting.kind.takes(text) => text.as_str(),
            None => setting.default,
            Some(text) if text.is_empty() => setting.default,
            Some(_) => setting.otherwise,
        };
        assert_eq!(value.value, expected, "{} of {files:?}", setting.key);
        match setting.kind {
            ValueKind::Number { min, max, zero, .. } => {
                let number: u64 = value.value.parse().expect("a number");
                assert!(
                    (min..=max).contains(&number) || number == 0 && zero.is_some(),
                    "{number}"
                );
            }
            ValueKind::Word(words) => assert!(words.contains(&value.value.as_str())),
            ValueKind::Text | ValueKind::Url | ValueKind::Secret => {}
        }
        if matches!(value.origin, ValueOrigin::Refused(_)) {
            let is_named = |warning: &String| warning.starts_with(&format!("{}=", setting.key));
            assert!(
                warnings.iter().any(is_named),
                "{} isn't named in {warnings:?}",
                setting.key
            );
        }
    }
    assert!(config.extra_partitions.len() <= 4);
    patterns(&mut input);
}

/// Stars in patterns, beside a reader that tries every place at once.
fn patterns(input: &mut Input<'_>) {
    let pattern = input.bytes(12).escape_ascii().to_string();
    let name = input.text();
    let setting = ExtensionPattern::new(&pattern);
    assert_eq!(
        setting.matches(&name),
        matches(pattern.as_bytes(), name.as_bytes()),
        "{pattern:?} {name:?}"
    );
    if let Some(one) = setting.one() {
        assert_eq!(setting.matches(&name), one == name);
    }
}

/// A pattern with stars: the ends that a name may have come to, byte by byte of the pattern.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut ends = BTreeSet::from([0]);
    for byte in pattern {
        ends = match ends.first() {
            Some(first) if *byte == b'*' => (*first..=name.len()).collect(),
            _ => ends
                .into_iter()
                .filter(|end| name.get(*end) == Some(byte))
                .map(|end| end + 1)
                .collect(),
        };
    }
    ends.contains(&name.len())
}

/// A file, or none.
fn file(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let kind = input.byte() % 4;
    if kind == 0 {
        return None;
    }
    if kind == 1 {
        return Some(input.list().to_vec());
    }
    let mut text = String::new();
    for _ in 0..input.byte() % 8 {
        let setting = input.one_of(&SETTINGS);
        let value = if input.is_odd() {
            (*input.one_of(&VALUES)).to_owned()
        } else {
            input.text()
        };
        let _ = writeln!(text, "{}={value}", setting.key);
    }
    Some(text.into_bytes())
}

/// The value by a search from the end of each file.
fn naive(files: &BTreeMap<&str, Vec<u8>>, place: Place, key: &str) -> Option<String> {
    let mut files = place.files().iter().filter_map(|path| files.get(path));
    files.find_map(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let prefix = format!("{key}=");
        let mut lines = text.split('\n').rev();
        let value = lines.find_map(|line| line.strip_prefix(&prefix))?;
        assert_eq!(KeyValues::parse(&text).get(key), Some(unquoted(value)));
        Some(unquoted(value).to_owned())
    })
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if value.len() > 1 && value.starts_with(quote) && value.ends_with(quote) {
            return &value[1..value.len() - 1];
        }
    }
    value
}
