//! The keeper's socket: its state for everybody, its end for root.
//!
//! The socket is an abstract one, which needs no file system and outlives the change from the initrd
//! to the system. Anybody could take its name while there is no keeper, so only root is believed.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use super::armed_deadline::ArmedDeadline;
use super::decision::Plan;
use super::left_running::LeftRunningError;
use super::{PROGRAM, left_running};
use crate::host::Host;
use crate::journal::chain;

/// What a client wants of the keeper; none asks for its state alone.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeeperRequest {
    /// Its end.
    Disarm,
    /// That it keeps this deadline from now on, in place of what it kept.
    Keep(Plan),
}

/// How long one side waits for the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How long a full queue is waited for, and how long between two tries.
const CONNECTING: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(50);
/// Bytes of a request or an answer, at most.
pub(super) const LONGEST: u64 = 4096;

/// Why the keeper doesn't say, or doesn't do it.
#[derive(Debug, thiserror::Error)]
pub enum DeadlineControlError {
    /// It can't be reached, or doesn't answer.
    #[error("whatever keeps the trial deadline does not answer")]
    Silent(#[source] io::Error),
    /// Somebody else has its name.
    #[error("user {0} has taken the name of what keeps the trial deadline")]
    NotRoot(Uid),
    /// Only root ends it.
    #[error("user {0} may not disarm the trial deadline")]
    NotAllowed(Uid),
    /// It answers in words that are not known.
    #[error("whatever keeps the trial deadline answers {0:?}")]
    Unknown(String),
    /// It is armed still.
    #[error("the trial deadline is not disarmed: {0}")]
    StillArmed(ArmedDeadline),
    /// Its watchdog is, and nobody feeds that.
    #[error("{state}; {}; {PROGRAM} stops or feeds it where it is run anew", chain(why))]
    LeftRunning {
        /// What resets the node.
        state: ArmedDeadline,
        /// Why it is not stopped.
        why: LeftRunningError,
    },
}

/// What came of disarming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disarmed {
    /// Nothing was armed.
    Before,
    /// Nothing is armed any more; this process has ended.
    Now(u32),
    /// This process feeds a watchdog that can't be stopped, from now on or before.
    Fed {
        /// The keeper's state.
        state: ArmedDeadline,
        /// Whether it did so before.
        before: bool,
    },
}

impl fmt::Display for Disarmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.write_str("nothing was armed"),
            Self::Now(pid) => write!(f, "disarmed; process {pid} has ended"),
            Self::Fed { state, .. } => state.fmt(f),
        }
    }
}

/// The armed deadline of this machine, if there is one; else the watchdog that a killed keeper has
/// left running.
///
/// # Errors
/// When that can't be told.
pub fn armed(host: &Host) -> Result<Option<ArmedDeadline>, DeadlineControlError> {
    let state = ask(host, None)?.filter(|state| !state.is_ending());
    Ok(state.or_else(|| left_running::look(host)))
}

/// Disarms the deadline. Only root may.
///
/// # Errors
/// When the keeper can't be reached, doesn't answer or doesn't obey, or has left a watchdog running
/// that can't be stopped from here: the node may be reset still.
pub fn disarm(host: &Host) -> Result<Disarmed, DeadlineControlError> {
    let user = Uid::effective();
    if !is_trusted(host, user) {
        return Err(DeadlineControlError::NotAllowed(user));
    }
    let state = match armed(host)? {
        None => return Ok(Disarmed::Before),
        Some(state) if state.keeper_was_killed => return stop_left_running(host, state),
        Some(state) if state.left.is_none() => return Ok(Disarmed::Fed { state, before: true }),
        Some(state) => state,
    };
    match ask(host, Some(&KeeperRequest::Disarm))? {
        // It has ended in between, by itself or by force.
        None => match left_running::look(host) {
            Some(state) => stop_left_running(host, state),
            None => Ok(Disarmed::Now(state.pid)),
        },
        Some(state) if state.left.is_some() => Err(DeadlineControlError::StillArmed(state)),
        Some(state) if state.watchdog.is_some() => Ok(Disarmed::Fed { state, before: false }),
        Some(state) => Ok(Disarmed::Now(state.pid)),
    }
}

fn stop_left_running(host: &Host, state: ArmedDeadline) -> Result<Disarmed, DeadlineControlError> {
    match left_running::stop(host, &state) {
        Ok(()) => Ok(Disarmed::Now(state.pid)),
        Err(why) => Err(DeadlineControlError::LeftRunning { state, why }),
    }
}

/// Has the keeper keep this deadline in place of its own. Gives its state; none if it has ended.
///
/// # Errors
/// As [`disarm`].
pub(super) fn keep_another(host: &Host, plan: Plan) -> Result<Option<ArmedDeadline>, DeadlineControlError> {
    ask(host, Some(&KeeperRequest::Keep(plan)))
}

/// Disarms the deadline, as whoever marks the running slot good does first. After a cut between the
/// two the slot is on trial without a deadline, which keeps the node up; the other way round a healthy
/// node could be reset. A keeper that doesn't answer must not cost the slot: it looks at the table
/// before it resets, and its watchdog leads back into a slot that is good.
pub fn disarm_or_warn(host: &Host) {
    match disarm(host) {
        Ok(Disarmed::Before | Disarmed::Fed { before: true, .. }) => {}
        Ok(Disarmed::Fed { state, before: false }) => tracing::warn!("trial deadline: {state}"),
        Ok(Disarmed::Now(pid)) => {
            tracing::info!("the trial deadline is disarmed; process {pid} has ended");
        }
        Err(error) => tracing::warn!("the trial deadline may still be armed: {}", chain(&error)),
    }
}

fn ask(host: &Host, request: Option<&KeeperRequest>) -> Result<Option<ArmedDeadline>, DeadlineControlError> {
    let silent = DeadlineControlError::Silent;
    let mut stream = match connect_soon(&name(host)) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(silent(error)),
    };
    let peer = getsockopt(&stream, sockopt::PeerCredentials).map_err(|error| silent(error.into()))?;
    let peer = Uid::from_raw(peer.uid());
    if !is_trusted(host, peer) {
        return Err(DeadlineControlError::NotRoot(peer));
    }
    stream.set_read_timeout(Some(PATIENCE)).map_err(silent)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(silent)?;
    let mut answer = String::new();
    let mut exchange = || {
        if let Some(request) = request {
            stream.write_all(&serde_json::to_vec(request)?)?;
        }
        stream.shutdown(Shutdown::Write)?;
        (&stream).take(LONGEST).read_to_string(&mut answer)
    };
    match exchange() {
        // It has ended in between.
        Ok(0) => return Ok(None),
        Err(error) if has_ended(error.kind()) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(silent(error)),
    }
    let state = serde_json::from_str(&answer).map_err(|_| DeadlineControlError::Unknown(answer))?;
    Ok(Some(state))
}

/// Whether the other side of a connection went away before it was served.
fn has_ended(error: io::ErrorKind) -> bool {
    matches!(error, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Whether `user` keeps the deadline of `host`, or may end it. Of a directory that stands for a
/// machine its own users do.
pub(super) fn is_trusted(host: &Host, user: Uid) -> bool {
    user.is_root() || (!host.is_real() && user == Uid::effective())
}

/// Connects to the abstract socket called `name`. Another process may have taken the name and accept
/// no connection: a blocking `connect` would then wait for ever, and so would a program that marks a
/// slot good.
fn connect_soon(name: &str) -> io::Result<UnixStream> {
    let address = UnixAddr::new_abstract(name.as_bytes())?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let until = Instant::now() + CONNECTING;
    while let Err(error) = connect(socket.as_raw_fd(), &address) {
        // Its queue is full.
        if error != Errno::EAGAIN || Instant::now() >= until {
            return Err(error.into());
        }
        std::thread::sleep(AGAIN);
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The keeper's address; each root has its own.
pub(super) fn address(host: &Host) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(name(host))
}

fn name(host: &Host) -> String {
    let mut name = PROGRAM.to_owned();
    if !host.is_real() {
        let mut hasher = DefaultHasher::new();
        host.path("/").hash(&mut hasher);
        name = format!("{name}-{:016x}", hasher.finish());
    }
    name
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::sys::socket::{Backlog, bind, listen};

    use super::*;

    /// Between the order to disarm and its end a keeper still answers.
    #[test]
    fn a_keeper_that_is_about_to_end_keeps_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::new(directory.path().to_owned());
        let keeper = UnixListener::bind_addr(&address(&host).unwrap()).unwrap();
        let answers = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = keeper.accept().unwrap();
                stream
                    .write_all(br#"{"pid":219,"no_watchdog":"there is none"}"#)
                    .unwrap();
            }
        });
        assert_eq!(armed(&host).unwrap(), None);
        assert_eq!(disarm(&host).unwrap(), Disarmed::Before);
        answers.join().unwrap();
    }

    /// Anybody can take the name where there is no keeper.
    #[test]
    fn whoever_takes_the_name_and_accepts_nobody_holds_nothing_up() {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::new(directory.path().to_owned());
        let address = UnixAddr::new_abstract(name(&host).as_bytes()).unwrap();
        let flags = SockFlag::SOCK_CLOEXEC;
        let taken = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(taken.as_raw_fd(), &address).unwrap();
        listen(&taken, Backlog::new(0).unwrap()).unwrap();
        let _in_the_queue = connect_soon(&name(&host)).unwrap();
        assert!(matches!(armed(&host), Err(DeadlineControlError::Silent(_))));
        assert!(matches!(disarm(&host), Err(DeadlineControlError::Silent(_))));
        drop(taken);
        assert_eq!(armed(&host).unwrap(), None);
    }
}
