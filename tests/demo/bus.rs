//! How daemon and client meet: a private `dbus-daemon` with our policy, or, where none is
//! installed, a socket.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use test_support::bus::{Accounts, PrivateBus};

use super::Outcome;
use super::screen::say;

pub enum Meeting {
    Bus(PrivateBus),
    Socket(PathBuf),
}

impl Meeting {
    pub fn arrange(directory: &Path) -> Self {
        let installed = Command::new("dbus-daemon").arg("--version").output().is_ok();
        if installed {
            return Self::Bus(PrivateBus::start(Accounts::Ours));
        }
        say("dbus-daemon is not installed (package dbus): daemon and client talk over a socket instead");
        Self::Socket(directory.join("bus-peer"))
    }

    /// Tells `program`, the daemon or the client, where the other one is.
    pub fn tell(&self, program: &mut Command) {
        match self {
            Self::Bus(bus) => program.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()),
            Self::Socket(path) => program.arg("-bus_peer").arg(path),
        };
    }

    /// Returns once the daemon can be asked. On a bus the client itself waits for it; a socket has
    /// to be there.
    pub fn await_daemon(&self, daemon: &mut Child, patience: Duration) -> Outcome {
        let Self::Socket(path) = self else {
            return Ok(());
        };
        let begun = Instant::now();
        while UnixStream::connect(path).is_err() {
            if let Some(status) = daemon.try_wait()? {
                return Err(format!("the daemon ended with {status}").into());
            }
            if begun.elapsed() > patience {
                return Err("the daemon does not listen".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
