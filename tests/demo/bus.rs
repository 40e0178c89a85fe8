//! How daemon and client meet: a private `dbus-daemon` with our policy, or, where none is installed, a socket.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::private_bus::{Accounts, PrivateBus};
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
}
