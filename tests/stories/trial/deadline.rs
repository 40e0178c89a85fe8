//! The trial deadline on a disk of its own: what arms it, what disarms it, and what it ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use update_engine::disk::{SlotDisk, SlotName};
use update_engine::engine::{record_hang, withdraw_hang};
use update_engine::host::Host;
use update_engine::trial_deadline::{HangRecords, keep};

use crate::support::device::Device;
use crate::support::image::Attributes;
use crate::support::loops::may_mount;

const PROGRAM: &str = env!("CARGO_BIN_EXE_update_engine");
const ARM: &str = "update-engine-trial-deadline";
const UNIT: &str = "usr/lib/systemd/system/update-engine.service";
/// By which a machine that only stands for one is reset.
const RESET: &str = "/run/update_engine/reboot";
const HISTORY: &str = "/var/lib/update_engine/history";
const GOOD: Attributes = (1, 0, 1);
const ON_TRIAL: Attributes = (2, 0, 0);

/// The process of which `said` tells.
fn keeper(said: &str) -> String {
    let process = said.split("process ").nth(1).unwrap();
    process.split(' ').next().unwrap().to_owned()
}

/// A machine whose slot B is on trial, with a deadline 900 s after the boot.
struct Trial {
    device: Device,
    host: Host,
}

impl Trial {
    /// `up` seconds after the boot.
    fn new(up: &str) -> Self {
        let device = Device::new(1 << 20);
        device.image.set_attributes(SlotName::A, GOOD);
        device.image.set_attributes(SlotName::B, ON_TRIAL);
        let host = device.host(&device.partition(4));
        let trial = Self { device, host };
        let settings = "HEALTH_DEADLINE=600\nTRIAL_DEADLINE=900\n";
        trial.write("usr/share/flatcar/update.conf", settings);
        trial.write("proc/uptime", &format!("{up} 0.00\n"));
        trial.write("boot/flatcar/vmlinuz-a", "a kernel");
        trial.write(UNIT, "[Service]\n");
        fs::create_dir_all(trial.path("usr/lib/systemd/system/multi-user.target.wants")).unwrap();
        let wants = "usr/lib/systemd/system/multi-user.target.wants/update-engine.service";
        symlink("../update-engine.service", trial.path(wants)).unwrap();
        fs::create_dir_all(trial.path("var/lib/update_engine")).unwrap();
        trial
    }

    fn path(&self, path: &str) -> PathBuf {
        self.host.path(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the program prints under one of its names.
    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let link = self.device.path(name);
        if !link.exists() {
            symlink(PROGRAM, &link).unwrap();
        }
        let output = Command::new(link)
            .arg("-root")
            .arg(self.path(""))
            .args(arguments)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}{output:?}");
        printed.trim_end().to_owned()
    }

    fn status(&self) -> String {
        self.run(ARM, &["status"])
    }

    /// Arms it one second before the deadline, and waits for the end of what keeps it.
    fn outlives_its_deadline(&self) {
        let armed = self.run(ARM, &[]);
        assert!(armed.contains("resets the node"), "{armed}");
        self.waits_for_the_keepers_end();
    }

    fn waits_for_the_keepers_end(&self) {
        while !self.status().starts_with("none") {}
    }

    fn was_reset(&self) -> bool {
        self.path(RESET).exists()
    }
}

#[test]
fn what_is_armed_stays_as_it_is_until_it_is_not_to_be_armed_any_more() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    let armed = trial.run(ARM, &[]);
    assert!(armed.starts_with("trial deadline: in 7"), "{armed}");
    assert!(armed.ends_with("there is no watchdog"), "{armed}");
    let again = trial.run(ARM, &[]);
    assert!(again.starts_with("trial deadline, armed before: in 7"), "{again}");
    assert_eq!(keeper(&again), keeper(&armed));
    fs::create_dir_all(trial.path("etc/systemd/system")).unwrap();
    symlink(
        "/dev/null",
        trial.path("etc/systemd/system/update-engine.service"),
    )
    .unwrap();
    assert_eq!(
        trial.run(ARM, &[]),
        "trial deadline disarmed: the daemon is not to run: update-engine.service is masked"
    );
    assert_eq!(
        trial.status(),
        nobody("the daemon is not to run: update-engine.service is masked")
    );
    assert!(
        trial
            .run(ARM, &[])
            .starts_with("no trial deadline: the daemon is not to run")
    );
}

/// The status where a deadline is set, the slot is on trial, and nothing is armed.
fn nobody(why: &str) -> String {
    format!("none, and nobody would end a hang: {why}")
}

#[test]
fn where_nothing_is_armed_the_status_says_so_and_why() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    let unarmed = nobody(&format!(
        "it was not armed, or was disarmed, as the journal says; {ARM} arms it"
    ));
    assert_eq!(trial.status(), unarmed);
    trial.run(ARM, &[]);
    trial.run(ARM, &["disarm"]);
    assert_eq!(trial.status(), unarmed);
    trial.device.image.set_attributes(SlotName::A, (0, 0, 0));
    let told = trial.status();
    assert!(
        told.starts_with(&nobody("USR-A is not good (")) && told.ends_with("there is nothing to go back to"),
        "{told}"
    );
    let settings = trial.path("usr/share/flatcar/update.conf");
    fs::remove_file(&settings).unwrap();
    fs::create_dir(&settings).unwrap();
    let told = trial.status();
    assert!(
        told.starts_with(&nobody("why is not known: the deadline is not known: ")),
        "{told}"
    );
}

#[test]
fn marking_good_disarms() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    trial.run(ARM, &[]);
    assert!(trial.status().contains("resets the node"));
    trial.run("flatcar-setgoodroot", &[]);
    assert_eq!(trial.status(), "none");
    assert_eq!(trial.device.image.attributes(SlotName::B), (2, 0, 1));
    assert_eq!(trial.run(ARM, &[]), "no trial deadline: USR-B is marked good");
}

#[test]
fn a_slot_that_is_not_marked_good_in_time_is_left_with_its_cause() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("899.00");
    trial.outlives_its_deadline();
    assert!(trial.was_reset());
    let history = String::from_utf8_lossy(&fs::read(trial.path(HISTORY)).unwrap()).into_owned();
    assert!(history.contains("did not come up in time"), "{history}");
}

type Change = fn(&Trial);

#[test]
fn what_has_changed_by_the_deadline_keeps_it_from_resetting() {
    if !may_mount() {
        return;
    }
    let changes: [(&str, Change); 3] = [
        ("marked good by hand, by another program", |trial| {
            trial.device.image.set_attributes(SlotName::B, (2, 0, 1));
        }),
        ("the other slot is being written", |trial| {
            trial.device.image.set_attributes(SlotName::A, (0, 0, 0));
        }),
        ("the other slot's kernel is gone", |trial| {
            fs::remove_file(trial.path("boot/flatcar/vmlinuz-a")).unwrap();
        }),
    ];
    for (what, change) in changes {
        // Time for the change.
        let trial = Trial::new("897.00");
        let armed = trial.run(ARM, &[]);
        assert!(armed.contains("resets the node"), "{what}: {armed}");
        change(&trial);
        trial.waits_for_the_keepers_end();
        assert!(!trial.was_reset(), "{what}");
        assert!(!trial.path(HISTORY).exists(), "{what}");
    }
}

#[test]
fn where_nobody_has_set_a_deadline_nothing_is_armed_or_said() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    trial.write("usr/share/flatcar/update.conf", "HEALTH_DEADLINE=600\n");
    assert_eq!(trial.run(ARM, &[]), "");
    assert_eq!(trial.status(), "none");
}

#[test]
fn a_later_setting_counts_although_an_earlier_one_is_armed() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    let armed = trial.run(ARM, &[]);
    trial.write("etc/flatcar/update.conf", "TRIAL_DEADLINE=2000\n");
    let anew = trial.run(ARM, &[]);
    assert!(anew.starts_with("trial deadline, set anew: in 18"), "{anew}");
    assert_eq!(keeper(&anew), keeper(&armed));
    assert!(trial.status().starts_with("in 18"));
    trial.write("etc/flatcar/update.conf", "TRIAL_DEADLINE=0\n");
    assert_eq!(
        trial.run(ARM, &[]),
        "trial deadline disarmed: TRIAL_DEADLINE is not set"
    );
    assert_eq!(trial.status(), "none");
    assert_eq!(trial.run(ARM, &["disarm"]), "nothing was armed");
}

#[test]
fn who_marks_the_slot_good_while_the_cause_is_recorded_is_not_too_late() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("899.00");
    let records = HangRecords {
        record: |host, starting| {
            record_hang(host, starting)?;
            assert!(host.path(HISTORY).exists());
            SlotDisk::discover(host)?.mark_good()?;
            Ok(())
        },
        withdraw: |host| Ok(withdraw_hang(host)?),
    };
    let root = trial.path("").display().to_string();
    let orders =
        format!(r#"{{"root":"{root}","after":{{"secs":0,"nanos":1}},"watchdog":{{"Err":"there is none"}}}}"#);
    keep(&orders, records).unwrap();
    assert!(!trial.was_reset());
    let history = String::from_utf8_lossy(&fs::read(trial.path(HISTORY)).unwrap()).into_owned();
    assert!(!history.contains("did not come up in time"), "{history}");
}

#[test]
fn in_an_initrd_it_belongs_to_no_unit() {
    if !may_mount() {
        return;
    }
    let group = "sys/fs/cgroup/cgroup.procs";
    let trial = Trial::new("100.00");
    trial.write(group, "");
    trial.run(ARM, &[]);
    trial.run(ARM, &["disarm"]);
    assert_eq!(fs::read(trial.path(group)).unwrap(), b"0");
    trial.write(group, "");
    fs::create_dir_all(trial.path("run/systemd/system")).unwrap();
    trial.run(ARM, &[]);
    trial.run(ARM, &["disarm"]);
    assert_eq!(fs::read(trial.path(group)).unwrap(), b"");
}

/// A watchdog that takes no time-out and can't be stopped, as a file.
#[test]
fn a_keeper_that_is_killed_leaves_word_of_its_watchdog_and_the_next_one_takes_that_over() {
    if !may_mount() {
        return;
    }
    let trial = Trial::new("100.00");
    let class = |attribute: &str| format!("sys/class/watchdog/watchdog0/{attribute}");
    trial.write(&class("identity"), "Software Watchdog\n");
    trial.write(&class("nowayout"), "1\n");
    trial.write(&class("state"), "inactive\n");
    trial.write("dev/watchdog0", "");
    let armed = trial.run(ARM, &[]);
    assert!(armed.contains(", or /dev/watchdog0 "), "{armed}");
    trial.write(&class("state"), "active\n");
    let killed = keeper(&armed);
    let kill = |signal: &str, process: &str| {
        // The shell's own: a bare Debian has no program of that name.
        let mut shell = Command::new("sh");
        let status = shell
            .args(["-c", r#"kill "$0" "$1""#, signal, process])
            .status()
            .unwrap();
        assert!(status.success());
    };
    kill("-KILL", &killed);
    let word = format!(
        "/dev/watchdog0 resets the node, also if its slot is good: process {killed}, which has armed it, was killed"
    );
    while !trial.status().contains(&word) {}
    let anew = trial.run(ARM, &[]);
    assert!(anew.starts_with("trial deadline, set anew: in 7"), "{anew}");
    assert_ne!(keeper(&anew), killed);
    let fed = trial.run(ARM, &["disarm"]);
    assert_eq!(
        fed,
        format!(
            "none; process {} feeds /dev/watchdog0, which can't be stopped",
            keeper(&anew)
        )
    );
    assert_eq!(trial.run(ARM, &["disarm"]), fed);
    kill("-KILL", &keeper(&anew));
    while !trial.status().contains("was killed") {}
}
