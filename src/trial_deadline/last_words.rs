//! The keeper's last messages before it resets: to the kernel's log, the journal and the history of
//! updates. Each of these writes may block.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::host::Host;
use crate::host::subprocess::Subprocess;
use crate::journal::chain;

/// How long systemd and journald are waited for.
const SYSTEMD: Duration = Duration::from_secs(5);
/// Units that are named; of more their number.
const MOST_NAMED: usize = 8;

/// Why the history of updates has not been told, as its owner says it.
pub type HangRecordError = Box<dyn Error + Send + Sync>;

/// What the history of updates is told, durably.
#[derive(Debug, Clone, Copy)]
pub struct HangRecords {
    /// The running slot is left, and why: it gets the units that were still starting.
    pub record: fn(&Host, &[String]) -> Result<(), HangRecordError>,
    /// It is not left after all.
    pub withdraw: fn(&Host) -> Result<(), HangRecordError>,
}

/// How the kernel's log takes a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Written to disk at once.
    Critical = 2,
    Info = 6,
}

/// Tells the kernel's log, which journald reads.
pub(super) fn tell(host: &Host, level: Level, text: &str) {
    let log = OpenOptions::new().write(true).open(host.path("/dev/kmsg"));
    if let Ok(mut log) = log {
        let level = level as u8;
        let _ = log.write_all(format!("<{level}>{}: {text}\n", super::PROGRAM).as_bytes());
    }
}

/// Tells why the slot is left, and has it recorded.
pub(super) fn speak(host: &Host, records: HangRecords) {
    let starting = still_starting(host);
    if !starting.is_empty() {
        let text = format!("still starting: {}", named(&starting));
        tell(host, Level::Critical, &text);
    }
    if let Err(error) = (records.record)(host, &starting) {
        let text = format!("the cause is not recorded: {}", chain(&*error));
        tell(host, Level::Critical, &text);
    }
    let _ = output_of(host, "/usr/bin/journalctl", &["--sync"]);
}

/// The units that systemd is still starting; none if it doesn't say.
fn still_starting(host: &Host) -> Vec<String> {
    let jobs = output_of(
        host,
        "/usr/bin/systemctl",
        &["list-jobs", "--no-legend", "--plain"],
    );
    units_of(&jobs.unwrap_or_default())
}

/// The units in the table of jobs that are being started, not those that wait for them.
fn units_of(jobs: &str) -> Vec<String> {
    let unit = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (unit, kind, state) = (words.next()?, words.next()?, words.next()?);
        (kind == "start" && state == "running").then(|| unit.to_owned())
    };
    jobs.lines().filter_map(unit).collect()
}

/// `units` in a sentence.
fn named(units: &[String]) -> String {
    let first: Vec<_> = units.iter().take(MOST_NAMED).map(String::as_str).collect();
    let first = first.join(", ");
    match units.len().saturating_sub(MOST_NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn output_of(host: &Host, program: &str, arguments: &[&str]) -> Option<String> {
    if !host.has_systemd() {
        return None;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let program = Subprocess::new(Path::new(program), SYSTEMD).args(arguments.iter().copied());
    let finished = runtime.block_on(program.run_quietly()).ok()?;
    finished.status.success().then(|| finished.output.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_wait_for_others_are_not_those_that_hang() {
        let jobs = "  1 multi-user.target start waiting\n 70 vm-stuck.service start running\n \
                    71 old.service stop running\n x\n";
        assert_eq!(units_of(jobs), ["vm-stuck.service"]);
        assert_eq!(units_of(""), [""; 0]);
    }

    #[test]
    fn of_many_units_the_first_are_named() {
        let units: Vec<_> = (1..=10).map(|number| format!("{number}.service")).collect();
        assert_eq!(named(&units[..2]), "1.service, 2.service");
        assert!(named(&units).ends_with("8.service and 2 more"));
    }
}
