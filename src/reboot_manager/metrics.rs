//! The manager's metrics, in Prometheus' text format: pure.

use std::fmt::Write as _;

use super::state::ManagerPhase;
use crate::reboot_lock::ManagerReport;

/// Name, kind and help of each; the order in which they are written.
const FAMILIES: [(&str, &str); 6] = [
    (
        "update_reboot_manager_phase",
        "1 for what the reboot manager is at, 0 for everything else.",
    ),
    (
        "update_reboot_manager_holding_since_seconds",
        "Unix time since when this node may hold the reboot lock; missing if it doesn't.",
    ),
    (
        "update_reboot_manager_waiting_since_seconds",
        "Unix time since when a reboot is wanted; missing if none is.",
    ),
    (
        "update_reboot_manager_window_open",
        "Whether the reboot window is open.",
    ),
    (
        "update_reboot_manager_obstacle",
        "1 if something stands in the way, with who or what it is, and the reason.",
    ),
    (
        "update_reboot_manager_engine_answers",
        "Whether the update engine answers.",
    ),
];

/// What `report` tells.
pub(super) fn exposition(report: &ManagerReport) -> String {
    let mut text = String::new();
    for (name, help) in FAMILIES {
        let samples = samples(name, report);
        if samples.is_empty() {
            continue;
        }
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for sample in samples {
            let _ = writeln!(text, "{name}{sample}");
        }
    }
    text
}

fn samples(name: &str, report: &ManagerReport) -> Vec<String> {
    let one = |value: Option<i64>| value.map(|value| format!(" {value}")).into_iter().collect();
    match name.rsplit('_').next() {
        Some("phase") => ManagerPhase::ALL
            .iter()
            .map(|phase| {
                let value = u8::from(phase.word() == report.phase);
                format!("{{phase=\"{}\"}} {value}", phase.word())
            })
            .collect(),
        Some("seconds") if name.contains("holding") => one(report.holding_since),
        Some("seconds") => one(report.waiting_since),
        Some("open") => one(Some(i64::from(report.window_open))),
        Some("answers") => one(Some(i64::from(report.engine_silent.is_none()))),
        _ => report
            .obstacle
            .iter()
            .map(|why| {
                let by = report.refused_by.as_deref().unwrap_or_default();
                format!("{{by=\"{}\",reason=\"{}\"}} 1", escaped(by), escaped(why))
            })
            .collect(),
    }
}

fn escaped(value: &str) -> String {
    crate::printable::printable(value)
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// One Markdown table, for `docs/reboots.md`.
#[must_use]
pub fn metrics_reference() -> String {
    let mut text = "| metric | says |\n|---|---|".to_owned();
    for (name, help) in FAMILIES {
        // Writing to a string can't fail.
        let _ = write!(text, "\n| `{name}` | {help} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_is_left_out_and_reasons_stay_in_their_quotes() {
        let report = ManagerReport {
            phase: "waiting-for-lock".to_owned(),
            waiting_since: Some(7),
            obstacle: Some("taken by \"a\"\n".to_owned()),
            refused_by: Some("lock-taken".to_owned()),
            ..ManagerReport::default()
        };
        let text = exposition(&report);
        assert!(text.contains("_phase{phase=\"waiting-for-lock\"} 1\n"), "{text}");
        assert!(text.contains("_phase{phase=\"idle\"} 0\n"));
        assert!(text.contains("_waiting_since_seconds 7\n"));
        assert!(
            text.contains("_obstacle{by=\"lock-taken\",reason=\"taken by \\\"a\\\"\\n\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("_engine_answers 1\n"));
        assert!(text.contains("_window_open 0\n"));
        assert!(!text.contains("holding_since"));
    }
}
