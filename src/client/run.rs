//! Execution of the flags, and the text of a status for scripts and for the log.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, interval_at};

use super::log::Log;
use super::session::EngineSession;
use super::{Action, Endpoint};
use crate::bus::StatusFields;
use crate::flags::CommandLine;
use crate::printable::printable;
use crate::status::Operation;

/// Interval at which `-update` reads the status.
const POLL: Duration = Duration::from_secs(5);

/// Printed after a reset: the boot attributes still select the new slot, and this command selects
/// the old one.
const RESET_ADVICE: &str = "ResetStatus succeeded; to undo partition table changes run:\n\
    (D=$(rootdev -d) P=$(rootdev -s); cgpt p -i$(($(echo ${P#$D} | sed 's/^[^0-9]*//')-1)) $D;)";

/// End of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit status 0.
    Success,
    /// Exit status 1.
    Failure,
    /// `SIGABRT`.
    Abort,
}

/// The engine was not found, or has left the bus. The reason is in the log.
struct NoEngine;

/// Carries out the command line. Prints statuses to standard output, logs to standard error.
pub async fn run(line: &CommandLine) -> Outcome {
    let log = Log {
        minimum: line.number("minloglevel").unwrap_or(0),
    };
    let client = FlagClient {
        endpoint: Endpoint::of(line),
        log,
    };
    let outcome = match Action::of(line) {
        Action::Reset => client.reset().await,
        Action::Status => client.status().await,
        Action::Check => client.check().await,
        Action::Update => client.update().await,
        Action::Watch => client.watch().await,
        Action::Nothing => {
            log.info("Done.");
            Ok(Outcome::Success)
        }
    };
    outcome.unwrap_or(Outcome::Failure)
}

struct FlagClient {
    endpoint: Endpoint,
    log: Log,
}

impl FlagClient {
    async fn open(&self) -> Result<EngineSession, NoEngine> {
        EngineSession::open(&self.endpoint, self.log)
            .await
            .ok_or(NoEngine)
    }

    async fn reset(&self) -> Result<Outcome, NoEngine> {
        self.log.info("Setting Update Engine status to idle ...");
        let manager = self.open().await?.manager().await.ok_or(NoEngine)?;
        if manager.reset_status().await.is_err() {
            self.log.error("ResetStatus failed.");
            return Ok(Outcome::Failure);
        }
        self.log.info(RESET_ADVICE);
        Ok(Outcome::Success)
    }

    async fn status(&self) -> Result<Outcome, NoEngine> {
        self.log.info("Querying Update Engine status...");
        let session = self.open().await?;
        self.print_status(&session).await?;
        Ok(Outcome::Success)
    }

    async fn check(&self) -> Result<Outcome, NoEngine> {
        let session = self.announce_and_open().await?;
        self.attempt(&session).await
    }

    async fn update(&self) -> Result<Outcome, NoEngine> {
        let session = self.announce_and_open().await?;
        let attempt = self.attempt(&session).await?;
        if attempt != Outcome::Success {
            return Ok(attempt);
        }
        self.log.info("Waiting for update to complete.");
        let mut polls = interval_at(Instant::now() + POLL, POLL);
        loop {
            polls.tick().await;
            if self.is_complete(&session).await? {
                return Ok(Outcome::Success);
            }
        }
    }

    async fn announce_and_open(&self) -> Result<EngineSession, NoEngine> {
        self.log.info("Initiating update check and install.");
        self.open().await
    }

    /// Has the engine begin an attempt; an error reply aborts the program like a failed assertion.
    async fn attempt(&self, session: &EngineSession) -> Result<Outcome, NoEngine> {
        let manager = session.manager().await.ok_or(NoEngine)?;
        match manager.attempt_update().await {
            Ok(()) => Ok(Outcome::Success),
            Err(error) => {
                self.log.fatal(&format!("Error checking for update: {error}"));
                Ok(Outcome::Abort)
            }
        }
    }

    /// Prints the status and returns whether the attempt is over. A failed attempt ends in idle,
    /// like one without an offer: the status doesn't show that it failed.
    async fn is_complete(&self, session: &EngineSession) -> Result<bool, NoEngine> {
        let status = self.print_status(session).await?;
        let operation = status.as_ref().map_or("", |(_, _, operation, _, _)| operation);
        if operation == Operation::Idle.as_str() {
            self.log.info("No update available");
            return Ok(true);
        }
        let done = operation == Operation::UpdatedNeedReboot.as_str();
        if done {
            self.log.info("Update succeeded -- reboot needed.");
        }
        Ok(done)
    }

    async fn print_status(&self, session: &EngineSession) -> Result<Option<StatusFields>, NoEngine> {
        let manager = session.manager().await.ok_or(NoEngine)?;
        let status = manager
            .get_status()
            .await
            .inspect_err(|error| self.log.info(&format!("Error getting status: {error}")))
            .ok();
        let mut output = std::io::stdout();
        let lines = key_values(status.as_ref());
        // Scripts get what the daemon says; on a terminal somebody reads it.
        let lines = if output.is_terminal() {
            printable(&lines)
        } else {
            lines.as_str().into()
        };
        // A reader that has gone away is no reason to fail.
        let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
        Ok(status)
    }

    async fn watch(&self) -> Result<Outcome, NoEngine> {
        self.log.info("Watching for status updates.");
        let manager = self.open().await?.manager().await.ok_or(NoEngine)?;
        let mut updates = manager.receive_status_update().await.map_err(|error| {
            self.log
                .error(&format!("Cannot listen for status updates: {error}"));
            NoEngine
        })?;
        while let Some(update) = updates.next().await {
            match update.message().body().deserialize::<StatusFields>() {
                Ok(status) => update_lines(&status).iter().for_each(|line| self.log.info(line)),
                Err(error) => self
                    .log
                    .warning(&format!("Ignoring a malformed status update: {error}")),
            }
        }
        self.log.error("The bus is gone.");
        Ok(Outcome::Failure)
    }
}

/// The five lines that scripts parse.
///
/// `None` stands for a status that could not be read; it prints what the original's C code made of
/// null pointers.
fn key_values(status: Option<&StatusFields>) -> String {
    let (checked, progress, operation, version, size) = match status {
        Some((checked, progress, operation, version, size)) => {
            (*checked, *progress, operation.as_str(), version.as_str(), *size)
        }
        None => (0, 0.0, "(null)", "(null)", 0),
    };
    format!(
        "LAST_CHECKED_TIME={checked}\nPROGRESS={progress:.6}\nCURRENT_OP={operation}\n\
         NEW_VERSION={version}\nNEW_SIZE={size}\n"
    )
}

/// The log lines for a signal.
fn update_lines(status: &StatusFields) -> [String; 6] {
    let (checked, progress, operation, version, size) = status;
    [
        "Got status update:".to_owned(),
        format!("  last_checked_time: {checked}"),
        format!("  progress: {}", general(*progress)),
        format!("  current_operation: {operation}"),
        format!("  new_version: {version}"),
        format!("  new_size: {size}"),
    ]
}

/// A number as C++ streams print it: six significant digits, no trailing zeros (`%g`).
fn general(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific; // inf and NaN
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match usize::try_from(5 - exponent) {
        Ok(decimals) if exponent >= -4 => without_trailing_zeros(&format!("{value:.decimals$}")).to_owned(),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", without_trailing_zeros(mantissa), exponent.abs())
        }
    }
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_five_lines_of_key_and_value() {
        let status = (
            1_700_000_000,
            0.123_456_789,
            "UPDATE_STATUS_DOWNLOADING".to_owned(),
            "4081.2.0".to_owned(),
            2_514_292,
        );
        assert_eq!(
            key_values(Some(&status)),
            "LAST_CHECKED_TIME=1700000000\nPROGRESS=0.123457\nCURRENT_OP=UPDATE_STATUS_DOWNLOADING\n\
             NEW_VERSION=4081.2.0\nNEW_SIZE=2514292\n"
        );
    }

    #[test]
    fn a_status_that_could_not_be_had_still_has_a_value_on_each_line() {
        assert_eq!(
            key_values(None),
            "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=(null)\nNEW_VERSION=(null)\nNEW_SIZE=0\n"
        );
    }

    #[test]
    fn progress_in_the_log_is_as_cpp_streams_print_it() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.5, "0.5"),
            (1.0 / 3.0, "0.333333"),
            (0.000_123_456_7, "0.000123457"),
            (0.000_012_345, "1.2345e-05"),
            (123_456.7, "123457"),
            (1_234_567.0, "1.23457e+06"),
            (0.999_999_9, "1"),
        ] {
            assert_eq!(general(value), text);
        }
    }
}
