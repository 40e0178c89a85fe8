//! Settings in force, for `config`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::{self, Config, Effective, PartitionSetting, ValueKind, ValueOrigin};
use crate::host::{Host, Unreadable};
use crate::net::{redact, redact_url};

/// Every setting below `root`, one line each or as JSON; the lines are followed by the oddities of
/// the files.
///
/// # Errors
/// If a file can't be read: the settings in force are not known then.
pub(super) fn show(root: &Path, json: bool) -> Result<String, Unreadable> {
    let host = Host::new(root);
    let settings = config::effective(|path| host.read(path))?;
    let partitions = config::partition_settings(|path| host.read(path))?;
    if json {
        let all: Vec<Value> = settings
            .iter()
            .map(record)
            .chain(partitions.iter().map(record_of_partition))
            .collect();
        return Ok(format!("{:#}\n", Value::Array(all)));
    }
    let mut lines = String::new();
    let mut line = |key: &str, value: &str, origin: &str| {
        let assignment = format!("{key}={value}");
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{assignment:<64} # {origin}");
    };
    for setting in &settings {
        line(setting.setting.key, &shown(setting), &origin(setting));
    }
    for PartitionSetting { key, value, origin } in &partitions {
        let origin = match origin {
            ValueOrigin::File(file) => (*file).to_owned(),
            ValueOrigin::Refused(file) => format!("no partition: {file} has a value that can't be used"),
            ValueOrigin::Default => String::new(),
        };
        line(key, &redact(value), &origin);
    }
    let warnings = Config::load(|path| host.read(path))?.warnings();
    for warning in warnings.into_iter().chain(host.machine_id_warning()) {
        let _ = writeln!(lines, "# warning: {warning}");
    }
    Ok(lines)
}

fn record(setting: &Effective) -> Value {
    row(setting.setting.key, &shown(setting), setting.origin)
}

fn record_of_partition(setting: &PartitionSetting) -> Value {
    row(&setting.key, &redact(&setting.value), setting.origin)
}

fn row(key: &str, value: &str, origin: ValueOrigin) -> Value {
    json!({
        "key": key,
        "value": value,
        "from": match origin {
            ValueOrigin::File(file) => Some(file),
            ValueOrigin::Default | ValueOrigin::Refused(_) => None,
        },
        "refused_in": match origin {
            ValueOrigin::Refused(file) => Some(file),
            ValueOrigin::Default | ValueOrigin::File(_) => None,
        },
    })
}

/// Value for display: a secret is only shown to be set, and URLs are shown without user, password
/// and query.
fn shown(setting: &Effective) -> String {
    match setting.setting.kind {
        ValueKind::Secret if !setting.value.is_empty() => "(set)".to_owned(),
        // As a whole: what would end a URL in a text may be part of its password.
        ValueKind::Url => redact_url(&setting.value),
        _ => redact(&setting.value),
    }
}

fn origin(setting: &Effective) -> String {
    let is_other = setting.setting.otherwise != setting.setting.default;
    match setting.origin {
        ValueOrigin::Refused(file) if is_other => format!("{file} has a value that can't be used"),
        ValueOrigin::File(file) => file.to_owned(),
        ValueOrigin::Default => "default".to_owned(),
        ValueOrigin::Refused(file) => format!("default: {file} has a value that can't be used"),
    }
}
