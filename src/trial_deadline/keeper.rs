//! The keeper: the process that waits for the deadline.
//!
//! It needs nothing but the kernel: no file, no systemd, no memory that could be paged out. What it
//! does at the deadline may block on a disk or on systemd, so it is done in threads which are not
//! waited for longer than [`PATIENCE`].

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, setsid};
use serde::{Deserialize, Serialize};

use super::control::{self, ArmedDeadline, DISARM};
use super::decision::stays;
use super::facts::{Facts, FactsError};
use super::watchdog::ArmedWatchdog;
use crate::host::Host;
use crate::host::subprocess::Subprocess;
use crate::journal::chain;
use crate::reboot::reset_now;

/// How much later than the process the watchdog resets: the process has twice [`PATIENCE`] for what
/// it does before it resets.
pub(super) const WATCHDOG_DELAY: Duration = Duration::from_secs(60);
/// How long disk and systemd are waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long systemd and journald are waited for, within that.
const SYSTEMD: Duration = Duration::from_secs(5);
/// Units that are named; of more their number.
const MOST_NAMED: usize = 8;

/// What a keeper is told when it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) root: PathBuf,
    /// Time until the reset.
    pub(super) after: Duration,
    /// Node of the watchdog, or why there is none.
    pub(super) watchdog: Result<PathBuf, String>,
}

/// Why there is no keeper.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It was not started by the program that arms.
    #[error("the orders can't be read")]
    Orders(#[source] serde_json::Error),
    /// Something else has its name, or the kernel refuses.
    #[error("cannot {0}")]
    Cannot(&'static str, #[source] io::Error),
}

/// Records durably why the running slot is left: it gets the units that were still starting.
pub type RecordHang = fn(&Host, &[String]) -> Result<(), String>;

struct Keeper {
    host: Host,
    listener: UnixListener,
    signals: SignalFd,
    /// None once it was disarmed, and only a watchdog is fed.
    deadline: Option<Instant>,
    watchdog: Option<ArmedWatchdog>,
    no_watchdog: String,
    record: RecordHang,
}

/// What a wait ended with.
enum Woken {
    Time,
    Connection,
    Signal,
}

/// Waits for the deadline, as `orders` say; returns once it is disarmed. Prints the state on
/// standard output when everything is armed.
///
/// # Errors
/// When nothing could be armed.
pub fn keep(orders: &str, record: RecordHang) -> Result<(), KeeperError> {
    let orders: Orders = serde_json::from_str(orders).map_err(KeeperError::Orders)?;
    let mut keeper = Keeper::arm(orders, record)?;
    let state = serde_json::to_string(&keeper.state()).unwrap_or_default();
    // Who has started us may be gone.
    let _ = writeln!(io::stdout(), "{state}");
    keeper.run();
    Ok(())
}

impl Keeper {
    fn arm(orders: Orders, record: RecordHang) -> Result<Self, KeeperError> {
        let host = Host::new(&orders.root);
        let deadline = Instant::now() + orders.after;
        let cannot = |what| move |error: io::Error| KeeperError::Cannot(what, error);
        // Fails only if it was done.
        let _ = setsid();
        let listener = control::address(&host).and_then(|address| UnixListener::bind_addr(&address));
        let listener = listener.map_err(cannot("take the keeper's name"))?;
        let signals = signals().map_err(cannot("catch signals"))?;
        if host.is_real() {
            stay_in_memory();
        }
        let (watchdog, no_watchdog) = match orders.watchdog {
            Ok(node) => match ArmedWatchdog::arm(&host, &node, orders.after + WATCHDOG_DELAY) {
                Ok(watchdog) => (Some(watchdog), String::new()),
                Err(error) => (None, format!("{} can't be armed: {error}", node.display())),
            },
            Err(why) => (None, why),
        };
        Ok(Self {
            host,
            listener,
            signals,
            deadline: Some(deadline),
            watchdog,
            no_watchdog,
            record,
        })
    }

    fn state(&self) -> ArmedDeadline {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now()).as_secs();
        ArmedDeadline {
            pid: std::process::id(),
            left: self.deadline.map(left),
            watchdog: self
                .watchdog
                .as_ref()
                .map(|watchdog| watchdog.node.display().to_string()),
            no_watchdog: self.no_watchdog.clone(),
        }
    }

    fn run(&mut self) {
        loop {
            match self.wait() {
                Woken::Signal => self.disarm(),
                Woken::Connection => {
                    if let Ok((stream, _)) = self.listener.accept() {
                        self.serve(stream);
                    }
                }
                Woken::Time => {}
            }
            self.feed_if_need_be();
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.end_hang();
            }
            if self.deadline.is_none() && self.watchdog.is_none() {
                return;
            }
        }
    }

    fn must_feed(&self) -> Option<&ArmedWatchdog> {
        let watchdog = self.watchdog.as_ref();
        watchdog.filter(|watchdog| self.deadline.is_none() || watchdog.is_short)
    }

    fn feed_if_need_be(&self) {
        if let Some(watchdog) = self.must_feed()
            && let Err(error) = watchdog.feed()
        {
            self.tell(&format!("{} can't be fed: {error}", watchdog.node.display()));
        }
    }

    fn wait(&self) -> Woken {
        let until_deadline = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let until_feeding = self.must_feed().map(ArmedWatchdog::feeding_interval);
        let wait = until_deadline.into_iter().chain(until_feeding).min();
        // A begun millisecond counts whole: no turn in vain.
        let wait = wait.map(|wait| PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX));
        let mut files = [
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        let ready = poll(&mut files, wait.unwrap_or(PollTimeout::NONE));
        match ready {
            Ok(0) | Err(_) => Woken::Time,
            Ok(_) if files[1].any().unwrap_or_default() => {
                let _ = self.signals.read_signal();
                Woken::Signal
            }
            Ok(_) => Woken::Connection,
        }
    }

    /// Answers one client; only root is listened to, so that nobody else can keep us waiting.
    fn serve(&mut self, mut stream: UnixStream) {
        let user = getsockopt(&stream, sockopt::PeerCredentials).map(|peer| Uid::from_raw(peer.uid()));
        let is_trusted = user.is_ok_and(|user| control::is_trusted(&self.host, user));
        if is_trusted && asks_to_disarm(&mut stream) {
            self.disarm();
        }
        let state = serde_json::to_string(&self.state()).unwrap_or_default();
        let _ = stream.set_nonblocking(true);
        let _ = stream.write_all(state.as_bytes());
    }

    /// Nothing resets any more. A watchdog that can't be stopped is fed for ever.
    fn disarm(&mut self) {
        self.deadline = None;
        let Some(watchdog) = &mut self.watchdog else {
            return;
        };
        if watchdog.can_be_stopped && watchdog.stop().is_ok() {
            self.watchdog = None;
            return;
        }
        let node = watchdog.node.display().to_string();
        self.tell(&format!(
            "{node} can't be stopped; this process feeds it from now on"
        ));
    }

    /// The deadline has come: looks once more, tells why, and resets.
    ///
    /// Order, and what a cut between leaves behind:
    /// 1. the kernel's log and the journal, for who reads them;
    /// 2. the cause in the history: the other slot's daemon reports it instead of "did not come up";
    /// 3. the reset. The try was spent at the boot, so that the loader takes the other slot.
    fn end_hang(&mut self) {
        if let Some(reason) = self.reason_to_stay() {
            self.tell(&format!(
                "the slot is on trial after its deadline, and stays: {reason}"
            ));
            self.disarm();
            return;
        }
        self.tell("the slot was not marked good in time");
        let (host, record) = (self.host.clone(), self.record);
        let _ = bounded(PATIENCE, move || last_words(&host, record));
        self.tell("resetting the node into the other slot");
        match reset_now(&self.host) {
            Ok(()) => self.deadline = None,
            Err(error) => {
                self.tell(&format!("the node can't be reset: {error}"));
                // Once more in a while, unless the watchdog does it.
                self.deadline = Some(Instant::now() + PATIENCE);
            }
        }
    }

    /// Why nothing resets, if it doesn't. A disk that doesn't answer says nothing against it.
    fn reason_to_stay(&self) -> Option<String> {
        let host = self.host.clone();
        match bounded(PATIENCE, move || Facts::read(&host)) {
            Ok(Ok(Some(facts))) => stays(&facts).map(|reason| reason.to_string()),
            Ok(Ok(None)) => Some("TRIAL_DEADLINE is not set any more".to_owned()),
            Ok(Err(error)) => Some(chain(&error)),
            Err(error) => {
                self.tell(&chain(&error));
                None
            }
        }
    }

    fn tell(&self, text: &str) {
        tell(&self.host, text);
    }
}

/// The result of `work` in a thread of its own, which is left alone if it takes longer.
pub(super) fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FactsError> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || sender.send(work()));
    thread.map_err(FactsError::Thread)?;
    receiver
        .recv_timeout(limit)
        .map_err(|_| FactsError::TimedOut(limit.as_secs()))
}

/// Tells the kernel's log, which journald reads; written to disk at once for its importance.
fn tell(host: &Host, text: &str) {
    let log = OpenOptions::new().write(true).open(host.path("/dev/kmsg"));
    if let Ok(mut log) = log {
        let _ = log.write_all(format!("<2>{}: {text}\n", super::PROGRAM).as_bytes());
    }
}

fn last_words(host: &Host, record: RecordHang) {
    let starting = still_starting(host);
    if !starting.is_empty() {
        tell(host, &format!("still starting: {}", named(&starting)));
    }
    if let Err(error) = record(host, &starting) {
        tell(host, &format!("the cause is not recorded: {error}"));
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

/// Whether the client sends the request that ends us.
fn asks_to_disarm(stream: &mut UnixStream) -> bool {
    let mut request = [0; DISARM.len()];
    let _ = stream.set_read_timeout(Some(control::PATIENCE));
    let length = stream.read(&mut request).unwrap_or(0);
    &request[..length] == DISARM
}

/// Signals that end other programs: whoever sends one means an orderly end.
fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::new(&set)?)
}

/// Neither paged out nor chosen where memory runs short. Without either it works as long as the
/// machine has memory.
fn stay_in_memory() {
    let _ = fs::write("/proc/self/oom_score_adj", "-1000");
    let _ = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE);
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
