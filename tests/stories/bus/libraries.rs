//! The D-Bus libraries and tools that programs of a node use, each with the real daemon: watching,
//! asking, having a check made, and reading properties, as root; reading properties, as anybody.
//! Debian's and Ubuntu's, where they have them.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use update_engine::disk::SlotName;

use crate::support::scene::Scene;
use test_support::bus::{NOBODY_UID, PrivateBus};

/// Longer than any of them needs.
const PATIENCE: Duration = Duration::from_secs(120);

struct Library {
    /// Debian's package.
    package: &'static str,
    interpreter: &'static str,
    /// What makes the interpreter take the script as an argument.
    flags: &'static [&'static str],
    /// Fails where the library isn't there.
    probe: &'static str,
    script: &'static str,
}

const PYTHON_DBUS: Library = Library {
    package: "python3-dbus",
    interpreter: "/usr/bin/python3",
    flags: &["-c"],
    probe: "import dbus.mainloop.glib, gi",
    script: include_str!("libraries/python_dbus.py"),
};

const PYDBUS: Library = Library {
    package: "python3-pydbus",
    probe: "import pydbus",
    script: include_str!("libraries/python_pydbus.py"),
    ..PYTHON_DBUS
};

const DASBUS: Library = Library {
    package: "python3-dasbus",
    probe: "import dasbus",
    script: include_str!("libraries/python_dasbus.py"),
    ..PYTHON_DBUS
};

const RUBY_DBUS: Library = Library {
    package: "ruby-dbus",
    interpreter: "/usr/bin/ruby",
    flags: &["-e"],
    probe: "require 'dbus'",
    script: include_str!("libraries/ruby_dbus.rb"),
};

const GDBUS: Library = Library {
    package: "libglib2.0-bin",
    interpreter: "/bin/bash",
    flags: &["-c"],
    probe: "command -v gdbus >/dev/null",
    script: include_str!("libraries/gdbus.sh"),
};

const BUSCTL: Library = Library {
    package: "systemd",
    probe: "command -v busctl >/dev/null",
    script: include_str!("libraries/busctl.sh"),
    ..GDBUS
};

impl Library {
    fn is_there(&self) -> bool {
        let mut probe = Command::new(self.interpreter);
        probe.args(self.flags).arg(self.probe).stderr(Stdio::null());
        let is_there = probe.status().is_ok_and(|status| status.success());
        if !is_there {
            eprintln!("{} isn't there: this test shows nothing", self.package);
        }
        is_there
    }

    /// What its script prints.
    async fn run(&self, bus: &PrivateBus, what: &str, uid: Option<u32>) -> Vec<String> {
        let mut process = bus.process(self.interpreter);
        process.args(self.flags).arg(self.script);
        if self.interpreter.ends_with("bash") {
            process.arg(self.package);
        }
        process.arg(what).stdin(Stdio::null()).current_dir("/");
        if let Some(uid) = uid {
            process.uid(uid).gid(uid);
        }
        let output = tokio::process::Command::from(process).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output
            .unwrap_or_else(|_| panic!("{} never ends", self.package))
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", self.package);
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().map(str::to_owned).collect()
    }
}

async fn shows_all(library: Library) {
    if !library.is_there() {
        return;
    }
    let mut scene = Scene::quiet().await;
    let _daemon = scene.boot(SlotName::A).await;
    let properties = ["version 1.0.0", "slots 2"];
    let all = library.run(&scene.bus, "all", None).await;
    let before = [
        "status UPDATE_STATUS_IDLE 0.0.0",
        "signal UPDATE_STATUS_CHECKING_FOR_UPDATE",
        "signal UPDATE_STATUS_IDLE",
    ];
    assert_eq!(all, [&before[..], &properties].concat(), "{}", library.package);
    if nix::unistd::geteuid().is_root() {
        let read = library.run(&scene.bus, "read", Some(NOBODY_UID)).await;
        assert_eq!(read, properties, "{}", library.package);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_dbus() {
    shows_all(PYTHON_DBUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pydbus() {
    shows_all(PYDBUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dasbus() {
    shows_all(DASBUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ruby_dbus() {
    shows_all(RUBY_DBUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gdbus() {
    shows_all(GDBUS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busctl() {
    shows_all(BUSCTL).await;
}
