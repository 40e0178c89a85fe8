//! The reference of all settings, for `docs/configuration.md`.

use std::fmt::Write as _;

use super::setting::{Place, Setting};
use super::table::SETTINGS;

/// One Markdown table for each set of files.
#[must_use]
pub fn reference() -> String {
    let mut text = String::new();
    for place in [Place::Update, Place::Oem] {
        let settings = SETTINGS.iter().filter(|setting| setting.place == place);
        // Writing to a string can't fail.
        let _ = writeln!(text, "In `{}`:\n", place.files().join("`, `"));
        let _ = writeln!(text, "| key | value | default | meaning |\n|---|---|---|---|");
        for setting in settings {
            let _ = writeln!(text, "{}", row(setting));
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        "" => "empty".to_owned(),
        default => format!("`{default}`"),
    };
    let Setting {
        key, kind, meaning, ..
    } = setting;
    format!("| `{key}` | {kind} | {default} | {meaning} |")
}
