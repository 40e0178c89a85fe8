//! Execution of the flags.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::{Instant, interval_at};

use super::log::Log;
use super::session::Session;
use super::{Action, Endpoint, text};
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
    async fn open(&self) -> Result<Session, NoEngine> {
        Session::open(&self.endpoint, self.log).await.ok_or(NoEngine)
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

    async fn announce_and_open(&self) -> Result<Session, NoEngine> {
        self.log.info("Initiating update check and install.");
        self.open().await
    }

    /// Has the engine begin an attempt; an error reply aborts the program like a failed assertion.
    async fn attempt(&self, session: &Session) -> Result<Outcome, NoEngine> {
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
    async fn is_complete(&self, session: &Session) -> Result<bool, NoEngine> {
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

    async fn print_status(&self, session: &Session) -> Result<Option<StatusFields>, NoEngine> {
        let manager = session.manager().await.ok_or(NoEngine)?;
        let status = manager
            .get_status()
            .await
            .inspect_err(|error| self.log.info(&format!("Error getting status: {error}")))
            .ok();
        let mut output = std::io::stdout();
        let lines = text::key_values(status.as_ref());
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
                Ok(status) => text::update_lines(&status)
                    .iter()
                    .for_each(|line| self.log.info(line)),
                Err(error) => self
                    .log
                    .warning(&format!("Ignoring a malformed status update: {error}")),
            }
        }
        self.log.error("The bus is gone.");
        Ok(Outcome::Failure)
    }
}
