//! Refusals of servers, with meaning and remedy: Nebraska's statuses, and those of the Omaha
//! protocol.

use std::fmt::Write as _;

/// Statuses with a meaning and a remedy: the ten that Nebraska has (2026-08), then those of the
/// Omaha protocol itself.
const TABLE: [(&str, &str, &str); 15] = [
    (
        "error-maxUpdatesPerPeriodLimitReached",
        "it isn't this node's turn yet, as many nodes of its group have begun as may in one period",
        "nothing has to be done: the node asks again",
    ),
    (
        "error-maxConcurrentUpdatesLimitReached",
        "it isn't this node's turn yet, as many nodes of its group are updating as may at once",
        "nothing has to be done: the node asks again; if that never ends, the server's page shows which nodes don't finish",
    ),
    (
        "error-maxTimedOutUpdatesLimitReached",
        "nodes of its group took the update and didn't finish it in time, so that safe mode has stopped the roll-out",
        "find out what became of those nodes, then switch the group's updates on again at the server",
    ),
    (
        "error-updatesDisabled",
        "updates of its group are switched off, by hand or by safe mode, or it is outside of the group's office hours",
        "wait for the office hours, or switch the group's updates on at the server",
    ),
    (
        "error-updateInProgressOnInstance",
        "it believes that this node is installing an update already",
        "the node's next check sets that right; if it stays so, look whether another machine has the same /etc/machine-id",
    ),
    (
        "error-instanceRegistrationFailed",
        "it can't register this node",
        "it takes a version of three numbers (FLATCAR_RELEASE_VERSION), a /etc/machine-id of 1 to 50 letters and a \
         MACHINE_ALIAS of at most 256: look at these, then at the server's log",
    ),
    (
        "error-failedToRetrieveUpdatePackageInfo",
        "it has no such application, or no such group for this node's architecture, or the group has no channel",
        "check GROUP, FLATCAR_RELEASE_APPID and FLATCAR_RELEASE_BOARD against the server's page",
    ),
    (
        "error-unknownApplicationOrGroup",
        "it has no such application or group",
        "check GROUP and FLATCAR_RELEASE_APPID against the server's page",
    ),
    (
        "error-noPackageFound",
        "the channel of its group has no package",
        "give the channel one at the server",
    ),
    (
        "error-couldNotCheckUpdatesStats",
        "it can't read its own records of the group's updates",
        "look at the server's log and at its database",
    ),
    (
        "error-unknownApplication",
        "it has no such application",
        "check FLATCAR_RELEASE_APPID against what the server has",
    ),
    (
        "error-invalidAppId",
        "the application's id is none",
        "check FLATCAR_RELEASE_APPID",
    ),
    (
        "error-osnotsupported",
        "it has nothing for this node's system or architecture",
        "check FLATCAR_RELEASE_BOARD, and what the server has",
    ),
    (
        "error-unsupportedProtocol",
        "it doesn't speak version 3.0 of the Omaha protocol",
        "check SERVER: it must be the URL of an Omaha server for such nodes",
    ),
    (
        "restricted",
        "it doesn't give this application to this node's address or country",
        "ask whoever runs the server",
    ),
];

/// Whether an application's status refuses, so that no `<updatecheck>` need follow.
pub(super) fn is_refusal(app_status: &str) -> bool {
    app_status.starts_with("err") || TABLE.iter().any(|(status, ..)| *status == app_status)
}

/// What the statuses of the update check and of its application say: the meaning, the remedy, and
/// the server's own words.
pub(super) fn explain(check: &str, app: &str) -> String {
    let row = |status: &str| TABLE.iter().find(|(known, ..)| *known == status);
    match row(app).or_else(|| row(check)) {
        Some((status, meaning, remedy)) => format!("{meaning}; {remedy} (it says {status})"),
        None if matches!(app, "" | "ok") && check == "error-internal" => {
            "it failed to make an answer; look at the server's log, and whether its package is complete (it says error-internal)"
                .to_owned()
        }
        None => format!(
            "update check status {check:?}, application status {app:?}; ask whoever runs the server what that means"
        ),
    }
}

/// The reference of all refusals that are known: one Markdown table.
#[must_use]
pub fn refusals() -> String {
    let mut text = "| the server says | that means | what to do |\n|---|---|---|\n".to_owned();
    for (status, meaning, remedy) in TABLE {
        // Writing to a string can't fail.
        let _ = writeln!(text, "| `{status}` | {meaning} | {remedy} |");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_a_sentence_of_its_own_that_names_it() {
        let mut sentences: Vec<_> = TABLE
            .iter()
            .map(|(status, meaning, _)| {
                let sentence = explain("error-internal", status);
                assert!(
                    sentence.contains(status) && sentence.starts_with(meaning),
                    "{sentence}"
                );
                assert!(is_refusal(status));
                meaning
            })
            .collect();
        sentences.sort_unstable();
        sentences.dedup();
        assert_eq!(sentences.len(), TABLE.len());
    }

    #[test]
    fn what_nobody_knows_is_quoted() {
        assert_eq!(
            explain("error-new", "ok"),
            r#"update check status "error-new", application status "ok"; ask whoever runs the server what that means"#
        );
        assert!(explain("error-osnotsupported", "ok").starts_with("it has nothing for this node's system"));
        assert!(explain("error-internal", "ok").starts_with("it failed to make an answer"));
        assert!(!is_refusal("ok") && !is_refusal("") && is_refusal("err-internal"));
    }
}
