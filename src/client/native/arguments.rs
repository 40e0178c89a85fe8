//! The commands, as clap knows them.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// Asks the update engine, and tells it what to do.
#[derive(Debug, Parser)]
#[command(
    name = "update_engine_client",
    after_help = "Exit codes: 0 done, 1 refused, 2 wrong arguments, 3 the engine can't be reached, 4 not allowed; \
                  of update and check --dry-run also: 5 nothing is offered, 6 put off or refused by policy, 7 failed, or may fail.\n\n\
                  The flags of the original work as ever: -status, -check_for_update, -update, -reset_status, \
                  -watch_for_updates."
)]
pub struct Arguments {
    /// Talk to the engine at this socket, without a bus: the engine's own `-bus_peer`
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(super) bus_peer: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: NativeCommand,
}

/// What is wanted.
#[derive(Debug, Subcommand)]
pub(super) enum NativeCommand {
    /// What the engine does, the versions, the slots, and why there is no update
    Status {
        #[command(flatten)]
        form: Form,
        /// Go on showing it as it changes
        #[arg(long, short, conflicts_with = "json")]
        watch: bool,
    },
    /// Check for an update and install it, without waiting for the end
    Check {
        /// Only preview the outcome of the last offer: the slot, and the result of each check before an update. Changes
        /// nothing, and asks no update server
        #[arg(long)]
        dry_run: bool,
        /// Ask the update server what it offers now. It may count that as a grant, as if an update had begun
        #[arg(long, requires = "dry_run")]
        ask_server: bool,
        /// For programs
        #[arg(long, requires = "dry_run")]
        json: bool,
    },
    /// Check for an update, install it, and wait for the end
    Update,
    /// Take back that an update or a rollback waits for the reboot
    Reset {
        /// Also in the partition table: the running slot boots next
        #[arg(long)]
        withdraw_slot: bool,
    },
    /// Break off the update that is under way; a later attempt goes on from what has been downloaded
    Cancel,
    /// The two slots: version, priority, tries, successful
    Slots(Form),
    /// Make the staged update the next to boot
    Activate,
    /// Make the other slot the next to boot, if it was good once
    Rollback,
    /// Mark the running slot good and put it first, whatever its health
    MarkGood,
    /// Why there is no update, what failed last, what was rolled back, and what to do about it
    Why,
    /// What was well before an update, what is required of the new slot, and what was found missing or worse
    Health(Form),
    /// The last attempts at updates: when, from and to which version, how much was fetched, and what became of each
    History(Form),
    /// The lock among nodes that reboot, and what this node's reboot manager is at
    RebootLock {
        #[command(subcommand)]
        command: RebootLockCommand,
        /// Directory that stands for /
        #[arg(long, global = true, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
    },
    /// The configuration in force, and the file that each value comes from
    Config {
        #[command(flatten)]
        form: Form,
        /// Directory that stands for /
        #[arg(long, default_value = "/", value_name = "DIRECTORY")]
        root: PathBuf,
    },
}

/// What is wanted of the reboot lock.
#[derive(Debug, Subcommand)]
pub(super) enum RebootLockCommand {
    /// Places left, places and holders, as locksmithctl tells them; on standard error what this node's manager is at
    Status(Form),
    /// Take a place for a node, so that another one can't reboot
    Lock {
        /// The node's machine id; this node's by default
        id: Option<String>,
    },
    /// Give a node's place back
    Release {
        /// The node's machine id; this node's by default
        id: Option<String>,
    },
    /// Set the number of places
    SetMax {
        /// How many nodes may be down or on trial at a time
        max: u32,
    },
    /// Ask this node's reboot manager for a reboot, without an update
    SendNeedReboot,
}

/// For whom it is printed.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
}

/// The definition of all commands, for whoever makes completions and manuals of it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

impl Arguments {
    /// Whether a command line, without the program's name, is one of ours: it begins with a command, or with the
    /// socket and then one; or it is nothing but words, of which the first is mistyped. Everything else is the
    /// original's, which ignores arguments that are no flags, and would do nothing at all for words alone.
    #[must_use]
    pub fn are_meant<'a>(mut arguments: impl Iterator<Item = &'a str>) -> bool {
        while let Some(argument) = arguments.next() {
            match argument.strip_prefix("--bus-peer") {
                Some("") => drop(arguments.next()),
                Some(value) if value.starts_with('=') => {}
                _ => {
                    let is_command =
                        argument == "help" || Self::command().find_subcommand(argument).is_some();
                    let is_word = |argument: &str| !argument.is_empty() && !argument.starts_with('-');
                    return is_command || (is_word(argument) && arguments.all(is_word));
                }
            }
        }
        false
    }
}

/// The commands, one line each, for the flags' own `--help`.
#[must_use]
pub fn summary() -> String {
    let mut text = "\n  Commands (update_engine_client help COMMAND tells more):\n".to_owned();
    for command in command().get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {:<12} {about}", command.get_name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn only_a_command_in_the_first_place_is_ours() {
        for ours in [
            "status",
            "mark-good",
            "help",
            "--bus-peer /run/bus status",
            "--bus-peer=/run/bus slots --json",
            "statsu",
            "--bus-peer /run/bus reboot-locks status",
        ] {
            assert!(Arguments::are_meant(ours.split(' ')), "{ours}");
        }
        for theirs in [
            "",
            "-status",
            "--help",
            "nonsense -status",
            "nonsense --",
            "-status status",
            "--bus-peer status",
            "--bus-peer /run/bus -status",
            "--bus-peers status",
        ] {
            assert!(!Arguments::are_meant(theirs.split(' ')), "{theirs}");
        }
        assert!(!Arguments::are_meant(std::iter::empty()));
    }
}
