//! `update_engine_client`: one call of the bus interface per run, in the words that scripts parse.
//! Commands for people are in [`native`].
//!
//! Standard output carries nothing but the `KEY=value` lines of a status; everything for people
//! goes to standard error, one log line each. The flags, in their order of precedence:
//!
//! | flag | calls | ends with |
//! |---|---|---|
//! | `-reset_status` | `ResetStatus` | 0, or 1 if it was refused |
//! | `-status` | `GetStatus`, printed | 0, even if the call failed |
//! | `-update` | `AttemptUpdate`, then `GetStatus` every five seconds, printed | 0 once idle or waiting for the reboot |
//! | `-check_for_update` | `AttemptUpdate` | 0 |
//! | `-watch_for_updates` | listens | 1 once the bus is gone |
//! | none | nothing | 0 |
//!
//! Without a bus the run ends with 1 at once. Without the service on the bus it looks for it four
//! times in 30 seconds, before each call, and ends with 1. An error in answer to `AttemptUpdate`
//! aborts (`SIGABRT`).

mod log;
pub mod native;
mod run;
mod session;

use std::path::PathBuf;

use crate::flags::{CommandLine, Flag, FlagKind};

pub use run::{Outcome, run};

/// The flags of the program.
pub const FLAGS: &[Flag] = &[
    switch(
        "check_for_update",
        "Ask the engine to check for an update and to install it.",
    ),
    switch("status", "Print the status to standard output."),
    switch(
        "reset_status",
        "Set the engine back to idle after an update that waits for its reboot.",
    ),
    switch("update", "As check_for_update, and wait for the end."),
    switch(
        "watch_for_updates",
        "Log every change of the status, until the bus is gone.",
    ),
    Flag {
        name: "bus_peer",
        kind: FlagKind::Text,
        help: "Talk to the engine at this socket, without a bus; the engine's own -bus_peer.",
    },
];

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        kind: FlagKind::Switch,
        help,
    }
}

/// Action of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Reset,
    Status,
    Check,
    Update,
    Watch,
    Nothing,
}

impl Action {
    fn of(line: &CommandLine) -> Self {
        let precedence = [
            ("reset_status", Self::Reset),
            ("status", Self::Status),
            ("update", Self::Update),
            ("check_for_update", Self::Check),
            ("watch_for_updates", Self::Watch),
        ];
        let given = precedence.into_iter().find(|(flag, _)| line.is_on(flag));
        given.map_or(Self::Nothing, |(_, action)| action)
    }
}

/// Address of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    SystemBus,
    Peer(PathBuf),
}

impl Endpoint {
    fn of(line: &CommandLine) -> Self {
        line.text("bus_peer")
            .map_or(Self::SystemBus, |path| Self::Peer(path.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{FlagRequest, parse};

    fn action(arguments: &[&str]) -> Action {
        match parse(FLAGS, arguments.iter().map(Into::into)) {
            Ok(FlagRequest::Run(line)) => Action::of(&line),
            other => panic!("{arguments:?} gave {other:?}"),
        }
    }

    #[test]
    fn of_several_flags_the_first_in_precedence_is_taken() {
        assert_eq!(action(&["-update", "-status", "-reset-status"]), Action::Reset);
        assert_eq!(action(&["-check_for_update", "--status"]), Action::Status);
        assert_eq!(action(&["-check_for_update", "-update"]), Action::Update);
        assert_eq!(
            action(&["-watch_for_updates", "--check-for-update"]),
            Action::Check
        );
        assert_eq!(action(&["-watch_for_updates"]), Action::Watch);
        assert_eq!(action(&["-nostatus", "status"]), Action::Nothing);
    }
}
