//! The keeper: the process that waits for the deadline.
//!
//! It needs nothing but the kernel: no file, no systemd, no memory that could be paged out. What it
//! does at the deadline may block on a disk or on systemd, so it is done in threads which are not
//! waited for longer than [`PATIENCE`].
//!
//! ```text
//!  deadline ─▶ look ─ stays ─▶ disarmed: gone, or feeds a watchdog that does not stop
//!               │ ▲└─ nothing known, or the daemon started late: once more in a while
//!               │ └───────────────────────────────────────────┘
//!               └─ reset ─▶ cause recorded ─▶ table and clients once more ─ marked good ─▶ withdrawn
//!                                                       └─────────────────────────▶ the kernel resets
//! ```

use std::convert::identity;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, setsid};
use serde::{Deserialize, Serialize};

use super::armed_deadline::ArmedDeadline;
use super::control::{self, KeeperRequest, LONGEST};
use super::decision::{Plan, Verdict, at_deadline};
use super::facts::{BothSlots, Facts};
use super::last_words::{HangRecords, Level, speak, tell};
use super::left_running;
use super::process::{bounded, leave_initrds_group, signals, stay_in_memory};
use super::watchdog::{ArmedWatchdog, StillRuns, WATCHDOG_DELAY};
use crate::host::Host;
use crate::journal::chain;
use crate::reboot::reset_now;

/// How long disk and systemd are waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the table is waited for in the last look.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// How long between two looks of which nothing came.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// What a keeper is told when it is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) root: PathBuf,
    /// Time until the reset; none where a watchdog is to be fed, and nothing else.
    pub(super) after: Option<Duration>,
    /// Node of the watchdog, or why there is none, as [`Plan`] has it.
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

struct Keeper {
    host: Host,
    listener: UnixListener,
    signals: SignalFd,
    /// None once it was disarmed, and only a watchdog is fed.
    deadline: Option<Deadline>,
    watchdog: Option<ArmedWatchdog>,
    no_watchdog: String,
    records: HangRecords,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    /// As it was ordered.
    ordered: Instant,
    /// When it is looked whether to reset: later if nothing came of the look before.
    next_look: Instant,
}

impl Deadline {
    fn after(after: Duration) -> Self {
        let ordered = Instant::now() + after;
        Self {
            ordered,
            next_look: ordered,
        }
    }

    fn has_come(self) -> bool {
        self.next_look <= Instant::now()
    }
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
pub fn keep(orders: &str, records: HangRecords) -> Result<(), KeeperError> {
    let orders: Orders = serde_json::from_str(orders).map_err(KeeperError::Orders)?;
    let mut keeper = Keeper::arm(orders, records)?;
    let state = serde_json::to_string(&keeper.state()).unwrap_or_default();
    // Who has started us may be gone.
    let _ = writeln!(io::stdout(), "{state}");
    keeper.run();
    left_running::forget(&keeper.host);
    Ok(())
}

impl Keeper {
    fn arm(orders: Orders, records: HangRecords) -> Result<Self, KeeperError> {
        let host = Host::new(&orders.root);
        let deadline = orders.after.map(Deadline::after);
        let cannot = |what| move |error: io::Error| KeeperError::Cannot(what, error);
        // Fails only if it was done.
        let _ = setsid();
        let listener = control::address(&host).and_then(|address| UnixListener::bind_addr(&address));
        let listener = listener.map_err(cannot("take the keeper's name"))?;
        // Who has connected may be gone before he is served.
        listener.set_nonblocking(true).map_err(cannot("listen"))?;
        let signals = signals().map_err(cannot("catch signals"))?;
        if host.is_real() {
            stay_in_memory();
        }
        leave_initrds_group(&host);
        let least = orders.after.map(|after| after + WATCHDOG_DELAY);
        let (watchdog, no_watchdog) = match ArmedWatchdog::ordered(&host, orders.watchdog, least) {
            Ok(watchdog) => (Some(watchdog), String::new()),
            Err(error) => (None, chain(&error)),
        };
        if deadline.is_none() && watchdog.is_none() {
            return Err(cannot("feed a watchdog")(io::Error::other(no_watchdog)));
        }
        Ok(Self {
            host,
            listener,
            signals,
            deadline,
            watchdog,
            no_watchdog,
            records,
        })
    }

    fn state(&self) -> ArmedDeadline {
        let left = |deadline: Deadline| deadline.next_look.saturating_duration_since(Instant::now());
        ArmedDeadline {
            pid: std::process::id(),
            left: self.deadline.map(|deadline| left(deadline).as_secs()),
            watchdog: self
                .watchdog
                .as_ref()
                .map(|watchdog| watchdog.node.display().to_string()),
            no_watchdog: self.no_watchdog.clone(),
            keeper_was_killed: false,
        }
    }

    fn run(&mut self) {
        loop {
            match self.wait() {
                Woken::Signal => self.disarm("by a signal"),
                Woken::Connection => self.serve_all(),
                Woken::Time => {}
            }
            self.feed_if_need_be();
            if let Some(deadline) = self.deadline.filter(|deadline| deadline.has_come()) {
                self.end_hang(deadline);
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
            .map(|deadline| deadline.next_look.saturating_duration_since(Instant::now()));
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

    fn serve_all(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.serve(stream);
        }
    }

    /// Answers one client; only root is listened to, so that nobody else can keep us waiting.
    fn serve(&mut self, mut stream: UnixStream) {
        let user = getsockopt(&stream, sockopt::PeerCredentials).map(|peer| Uid::from_raw(peer.uid()));
        if user.is_ok_and(|user| control::is_trusted(&self.host, user)) {
            match request_of(&mut stream) {
                Some(KeeperRequest::Disarm) => self.disarm("by order"),
                Some(KeeperRequest::Keep(plan)) => self.keep_another(plan),
                None => {}
            }
        }
        let state = serde_json::to_string(&self.state()).unwrap_or_default();
        let _ = stream.set_nonblocking(true);
        let _ = stream.write_all(state.as_bytes());
    }

    /// Keeps another deadline. A watchdog that is armed stays, and counts anew.
    fn keep_another(&mut self, plan: Plan) {
        self.deadline = Some(Deadline::after(plan.after));
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.arm_anew(plan.after + WATCHDOG_DELAY);
            return;
        }
        match ArmedWatchdog::ordered(&self.host, plan.watchdog, Some(plan.after + WATCHDOG_DELAY)) {
            Ok(watchdog) => self.watchdog = Some(watchdog),
            Err(error) => self.no_watchdog = chain(&error),
        }
    }

    /// Nothing resets any more. A watchdog that doesn't stop is fed for ever.
    fn disarm(&mut self, why: &str) {
        if self.deadline.take().is_some() {
            let text = format!("the trial deadline is disarmed {why}");
            tell(&self.host, Level::Info, &text);
        }
        let Some(watchdog) = self.watchdog.take() else {
            return;
        };
        match watchdog.stop(&self.host) {
            Ok(()) => {}
            Err(running) => {
                self.tell(&chain(&running));
                if let StillRuns::Held(watchdog) = running {
                    let pid = std::process::id();
                    self.tell(&format!("process {pid} feeds it from now on"));
                    self.watchdog = Some(watchdog);
                }
            }
        }
    }

    /// The deadline has come: looks whether to reset.
    fn end_hang(&mut self, deadline: Deadline) {
        let (wait, watchdog) = match self.look(deadline) {
            Verdict::Reset => return self.leave_slot(),
            Verdict::Stays(reason) => {
                self.tell(&format!(
                    "the slot is on trial after its deadline, and stays: {reason}"
                ));
                return self.disarm("for that");
            }
            Verdict::LookAgain(why) => {
                self.tell(&format!("the deadline has come, and nothing is known: {why}"));
                (BETWEEN_LOOKS, None)
            }
            Verdict::NotYet(wait) => (wait, Some(wait + WATCHDOG_DELAY)),
        };
        self.deadline = Some(Deadline {
            next_look: Instant::now() + wait,
            ..deadline
        });
        if let (Some(watchdog), Some(least)) = (&mut self.watchdog, watchdog) {
            watchdog.arm_anew(least);
        }
    }

    /// What becomes of the deadline, by the table first.
    fn look(&self, deadline: Deadline) -> Verdict {
        let (sender, slots) = mpsc::channel();
        let host = self.host.clone();
        let found = bounded(PATIENCE, move || {
            Facts::read_slots_first(&host, |slots| {
                let _ = sender.send(slots);
            })
        });
        let found = found.and_then(identity);
        let up = self.host.up().unwrap_or(Duration::MAX);
        let overdue = deadline.ordered.elapsed();
        at_deadline(&found, slots.try_recv().ok().as_ref(), overdue, up)
    }

    /// Tells why, and resets.
    ///
    /// Order, and what a cut between leaves behind:
    /// 1. the kernel's log and the journal, for who reads them;
    /// 2. the cause in the history: the other slot's daemon reports it instead of "did not come up". If
    ///    the slot was marked good while it was written, the next daemon here withdraws it, as we do;
    /// 3. the reset. The try was spent at the boot, so that the loader takes the other slot.
    fn leave_slot(&mut self) {
        self.tell("the slot was not marked good in time");
        let (host, records) = (self.host.clone(), self.records);
        let _ = bounded(PATIENCE, move || speak(&host, records));
        if let Some(reason) = self.late_objection() {
            self.tell(&format!("the slot stays: {reason}"));
            let (host, records) = (self.host.clone(), self.records);
            if let Ok(Err(error)) = bounded(PATIENCE, move || (records.withdraw)(&host)) {
                self.tell(&format!("the cause is still recorded: {}", chain(&*error)));
            }
            if self.deadline.is_some_and(Deadline::has_come) {
                self.disarm("for that");
            }
            return;
        }
        self.tell("resetting the node into the other slot");
        match reset_now(&self.host) {
            Ok(()) => self.deadline = None,
            Err(error) => {
                self.tell(&format!("the node can't be reset: {}", chain(&error)));
                // Once more in a while, unless the watchdog does it.
                self.deadline = Some(Deadline::after(PATIENCE));
            }
        }
    }

    /// Why nothing resets after all: the slot was marked good while the cause was recorded, or whoever
    /// is about to has disarmed.
    fn late_objection(&mut self) -> Option<String> {
        let host = self.host.clone();
        let slots = bounded(LAST_LOOK, move || BothSlots::read(&host));
        self.serve_all();
        if !self.deadline.is_some_and(Deadline::has_come) {
            return Some("the deadline was disarmed or set anew meanwhile".to_owned());
        }
        let refusal = slots.ok()?.ok()?.require_way_back().err();
        refusal.map(|refusal| refusal.to_string())
    }

    fn tell(&self, text: &str) {
        tell(&self.host, Level::Critical, text);
    }
}

/// What the client wants; nothing but the state if that makes no sense.
fn request_of(stream: &mut UnixStream) -> Option<KeeperRequest> {
    let mut request = Vec::new();
    let _ = stream.set_read_timeout(Some(control::PATIENCE));
    stream.take(LONGEST).read_to_end(&mut request).ok()?;
    serde_json::from_slice(&request).ok()
}
