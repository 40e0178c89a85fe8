//! Notifications to the service manager: systemd's `sd_notify` protocol, datagrams of `KEY=value`
//! lines to `$NOTIFY_SOCKET`.

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

/// Connection to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// The service manager that the environment names, if any.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Some(Self {
            address: address(&env::var_os("NOTIFY_SOCKET")?)?,
            socket: UnixDatagram::unbound().ok()?,
        })
    }

    /// Reports that the daemon serves from now on.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Reports that the daemon is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Reports that the daemon is not stuck.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// Reports the daemon's state, one line for people.
    pub fn status(&self, line: &str) {
        self.tell(&format!("STATUS={}", line.replace(['\n', '\r'], " ")));
    }

    fn tell(&self, assignment: &str) {
        // Nobody depends on being told, and there is nobody to complain to.
        let _ = self.socket.send_to_addr(assignment.as_bytes(), &self.address);
    }

    /// Longest interval between two calls of [`Self::alive`] that the watchdog allows, if it is on.
    #[must_use]
    pub fn watchdog() -> Option<Duration> {
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let is_for_us =
            env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(process::id().into());
        let limit = number("WATCHDOG_USEC").filter(|limit| *limit > 0 && is_for_us)?;
        Some(Duration::from_micros(limit))
    }
}

/// Address of a socket: a path, or after an `@` a name without a file.
fn address(socket: &OsStr) -> Option<SocketAddr> {
    match socket.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(socket).ok(),
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        _ => None,
    }
}
