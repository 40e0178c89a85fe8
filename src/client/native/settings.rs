//! The configuration in force.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::{self, Config, Effective, Kind, Origin};
use crate::host::{Host, Unreadable};
use crate::net::redact;

/// Every setting below `root`, one line each, or for programs; after the lines for people what is odd about the files.
///
/// # Errors
/// A file that can't be read: what counts is not known.
pub(super) fn show(root: &Path, json: bool) -> Result<String, Unreadable> {
    let host = Host::new(root);
    let settings = config::effective(|path| host.read(path))?;
    if json {
        let all: Vec<Value> = settings.iter().map(record).collect();
        return Ok(format!("{:#}\n", Value::Array(all)));
    }
    let mut lines = String::new();
    for setting in &settings {
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            "{}={:<40} # {}",
            setting.setting.key,
            shown(setting),
            origin(setting)
        );
    }
    for warning in Config::load(|path| host.read(path))?.warnings() {
        let _ = writeln!(lines, "# warning: {warning}");
    }
    Ok(lines)
}

fn record(setting: &Effective) -> Value {
    json!({
        "key": setting.setting.key,
        "value": shown(setting),
        "from": match setting.origin {
            Origin::File(file) => Some(file),
            Origin::Default | Origin::Refused(_) => None,
        },
        "refused_in": match setting.origin {
            Origin::Refused(file) => Some(file),
            Origin::Default | Origin::File(_) => None,
        },
    })
}

/// Secrets are only said to be there, and URLs are without theirs.
fn shown(setting: &Effective) -> String {
    if setting.setting.kind == Kind::Secret && !setting.value.is_empty() {
        "(set)".to_owned()
    } else {
        redact(&setting.value)
    }
}

fn origin(setting: &Effective) -> String {
    let is_other = setting.setting.otherwise != setting.setting.default;
    match setting.origin {
        Origin::Refused(file) if is_other => format!("{file} has a value that can't be used"),
        Origin::File(file) => file.to_owned(),
        Origin::Default => "default".to_owned(),
        Origin::Refused(file) => format!("default: {file} has a value that can't be used"),
    }
}
