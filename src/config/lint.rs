//! The lint of configuration files: lines that are almost settings. The original's grammar reads
//! them as something else, and so do we.

use super::extra_partitions::PREFIX;
use super::setting::{Place, Setting};
use super::table::SETTINGS;

/// What the lines of `text`, the file at `path`, may have been meant for, each in a sentence.
/// Values are not told: some are secret.
pub(super) fn in_file(path: &str, place: Place, text: &str) -> Vec<String> {
    let lines = text.split('\n').zip(1_usize..);
    lines
        .filter_map(|(line, number)| {
            let warning = warning(line, place)?;
            Some(format!("{path}, line {number}: {warning}"))
        })
        .collect()
}

fn warning(line: &str, place: Place) -> Option<String> {
    if let Some((key, value)) = line.split_once('=')
        && is_key(key, place)
    {
        let why = about_value(value)?;
        return Some(format!("the value of {key} {why}"));
    }
    let meant = meant(line)?;
    if !is_key(&meant.key, place) {
        return None;
    }
    let (key, why) = (meant.key, meant.why);
    Some(format!("{key} is not set here, since {why}"))
}

/// What is odd about the value of a setting that counts.
fn about_value(value: &str) -> Option<&'static str> {
    let quote = |c| matches!(c, '"' | '\'');
    let is_quoted =
        value.len() > 1 && value.starts_with(quote) && value.chars().last() == value.chars().next();
    if value.ends_with('\r') {
        Some("ends in a carriage return, which belongs to it")
    } else if value.starts_with([' ', '\t']) {
        Some("begins with a blank, which belongs to it")
    } else if value.ends_with([' ', '\t']) {
        Some("ends in a blank, which belongs to it")
    } else if !is_quoted && (value.starts_with(quote) || value.ends_with(quote)) {
        Some("has a quote at one end only, which belongs to it")
    } else {
        None
    }
}

/// A key that the line may be meant for, and why it is none.
struct Meant {
    key: String,
    why: &'static str,
}

fn meant(line: &str) -> Option<Meant> {
    let mut why = None;
    let mut note = |reason| {
        why.get_or_insert(reason);
    };
    let mut rest = line;
    if let Some(marked) = rest.strip_prefix('\u{feff}') {
        note("a byte order mark stands before it");
        rest = marked;
    }
    let trimmed = rest.trim_start();
    if trimmed.len() < rest.len() {
        note("a blank stands before it");
    }
    rest = trimmed;
    if let Some(exported) = rest
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
    {
        note("`export` stands before it");
        rest = exported.trim_start();
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    let (key, after) = rest.split_at(end.unwrap_or(rest.len()));
    let separator = after.trim_start();
    if separator.len() < after.len() && separator.starts_with('=') {
        note("a blank stands between it and the `=`");
    } else if !separator.starts_with('=') {
        note("no `=` follows it");
        // A word of a sentence is no key: what could have been meant ends there, or goes on as a
        // setting would.
        if !(after.is_empty() || after.starts_with([' ', '\t', ':', '\r'])) {
            return None;
        }
    }
    let upper = key.to_ascii_uppercase();
    if upper != key && !key.starts_with(PREFIX) && after.trim_start().starts_with('=') {
        note("keys are in capitals");
    }
    let key = if key.starts_with(PREFIX) {
        key.to_owned()
    } else {
        upper
    };
    why.map(|why| Meant { key, why })
}

fn is_key(key: &str, place: Place) -> bool {
    let is_it = |setting: &&Setting| setting.place == place && setting.key == key;
    let is_partition = place == Place::Update && key.len() > PREFIX.len() && key.starts_with(PREFIX);
    SETTINGS.iter().any(is_it) || is_partition
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        in_file("FILE", Place::Update, text)
    }

    /// What is told of a file that has `line` as its second.
    fn told_of(line: &str) -> Vec<String> {
        let told = told(&format!("GROUP=stable\n{line}\nX=y"));
        let told = told
            .iter()
            .map(|told| told.strip_prefix("FILE, line 2: ").unwrap_or("another line"));
        told.map(str::to_owned).collect()
    }

    #[test]
    fn a_line_that_almost_is_a_setting_is_told_with_its_number() {
        let cases = [
            ("\u{feff}SERVER=x", "SERVER", "a byte order mark stands before it"),
            (" SERVER=x", "SERVER", "a blank stands before it"),
            ("\tSERVER=x", "SERVER", "a blank stands before it"),
            ("export SERVER=x", "SERVER", "`export` stands before it"),
            ("SERVER =x", "SERVER", "a blank stands between it and the `=`"),
            ("SERVER disabled", "SERVER", "no `=` follows it"),
            ("SERVER: disabled", "SERVER", "no `=` follows it"),
            ("server=disabled", "SERVER", "keys are in capitals"),
            (" PARTITION_oem=/a%s", "PARTITION_oem", "a blank stands before it"),
        ];
        for (line, key, why) in cases {
            assert_eq!(
                told_of(line),
                [format!("{key} is not set here, since {why}")],
                "{line:?}"
            );
        }
    }

    #[test]
    fn what_belongs_to_a_value_by_mistake_is_told() {
        let cases = [
            ("SERVER=disabled\r", "ends in a carriage return"),
            ("SERVER= disabled", "begins with a blank"),
            ("SERVER=disabled ", "ends in a blank"),
            ("SERVER=\"disabled", "has a quote at one end only"),
        ];
        for (line, why) in cases {
            let expected = format!("the value of SERVER {why}, which belongs to it");
            assert_eq!(told_of(line), [expected], "{line:?}");
        }
    }

    #[test]
    fn settings_comments_and_the_keys_of_others_are_no_doubt() {
        let text = "# SERVER=x\n#SERVER=x\nSERVER=\"a b\"\nGROUP=\nGROUP='x'\nREBOOT_STRATEGY =off\nexport PATH=/bin\n\nThe server is ours\nPARTITION_=x\n";
        assert_eq!(told(text), [""; 0]);
        assert_eq!(in_file("FILE", Place::Oem, " SERVER=x\nID=a"), [""; 0]);
    }

    #[test]
    fn no_value_is_told() {
        for line in [
            "DOWNLOAD_PASSWORD=geheim ",
            " DOWNLOAD_PASSWORD=geheim",
            "DOWNLOAD_PASSWORD geheim",
        ] {
            let told = told(line).concat();
            assert!(
                told.contains("DOWNLOAD_PASSWORD") && !told.contains("geheim"),
                "{told}"
            );
        }
    }
}
