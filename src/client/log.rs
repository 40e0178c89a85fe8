//! Log lines in glog's format, on standard error:
//! `I20261120 20:54:44.191059 12518 run.rs:51] Initiating update check and install.`
//!
//! The time is UTC: local time would need a time zone library for a line that people read on a
//! terminal.

use std::io::Write as _;
use std::panic::Location;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::unistd::gettid;

use crate::amounts::civil;
use crate::printable::printable;

/// Severity of a line, in glog's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Severity {
    Info = 0,
    Warning = 1,
    Error = 2,
    Fatal = 3,
}

/// Log on standard error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    /// `-minloglevel`: lines of lower severity are left out.
    pub(super) minimum: i32,
}

impl Log {
    #[track_caller]
    pub(super) fn info(self, message: &str) {
        self.line(Severity::Info, message);
    }

    #[track_caller]
    pub(super) fn warning(self, message: &str) {
        self.line(Severity::Warning, message);
    }

    #[track_caller]
    pub(super) fn error(self, message: &str) {
        self.line(Severity::Error, message);
    }

    /// Logs the error for which the program is about to abort.
    #[track_caller]
    pub(super) fn fatal(self, message: &str) {
        self.line(Severity::Fatal, message);
    }

    #[track_caller]
    fn line(self, severity: Severity, message: &str) {
        if (severity as i32) < self.minimum && severity != Severity::Fatal {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = printable(message);
        let line = format(severity, now, gettid().as_raw(), Location::caller(), &message);
        // Nobody is left to tell when standard error is closed.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn format(severity: Severity, now: Duration, thread: i32, place: &Location<'_>, message: &str) -> String {
    let letter = match severity {
        Severity::Info => 'I',
        Severity::Warning => 'W',
        Severity::Error => 'E',
        Severity::Fatal => 'F',
    };
    let file = Path::new(place.file()).file_name().unwrap_or_default().display();
    let line = place.line();
    format!("{letter}{} {thread:5} {file}:{line}] {message}\n", timestamp(now))
}

/// `yyyymmdd hh:mm:ss.uuuuuu`, UTC, of a time since 1970.
fn timestamp(now: Duration) -> String {
    let (year, month, day) = civil(now.as_secs() / 86_400);
    let second = now.as_secs() % 86_400;
    format!(
        "{year:04}{month:02}{day:02} {:02}:{:02}:{:02}.{:06}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        now.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_glogs_format() {
        let now = Duration::new(1_795_208_084, 191_059_000);
        let place = Location::caller();
        assert_eq!(
            format(Severity::Info, now, 12518, place, "Done."),
            format!("I20261120 20:54:44.191059 12518 log.rs:{}] Done.\n", place.line())
        );
    }
}
