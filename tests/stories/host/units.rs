//! The units as systemd understands them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::other_users::may_become_others;

/// What `systemd-analyze verify` has to say about our files, with the drop-ins given.
fn flaws(unit: &str, drop_ins: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(shipped("")).unwrap() {
        let from = entry.unwrap().path();
        let text = std::fs::read_to_string(&from).unwrap();
        // Only whether a program is installed can't be told here.
        let text = text
            .replace("ExecStart=/usr/sbin/update_engine", "ExecStart=/bin/true #")
            .replace("ExecStop=@/usr/sbin/update_engine", "ExecStop=@/bin/true")
            .replace(
                "ExecStart=/usr/sbin/update-engine-trial-deadline",
                "ExecStart=/bin/true",
            )
            .replace("ExecStart=/usr/sbin/update_reboot_manager", "ExecStart=/bin/true");
        std::fs::write(directory.path().join(from.file_name().unwrap()), text).unwrap();
    }
    let extra = directory.path().join(format!("{unit}.d"));
    std::fs::create_dir(&extra).unwrap();
    for (name, text) in drop_ins {
        std::fs::write(extra.join(name), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(directory.path().join(unit))
        // After the colon: where systemd's own units lie.
        .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours = directory.path().to_str().unwrap();
    let mut said: Vec<_> = said
        .lines()
        .filter(|line| line.contains(ours) || line.contains("update-engine"))
        .collect();
    if !output.status.success() {
        said.push("it failed");
    }
    said.join("\n")
}

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

#[test]
fn systemd_has_nothing_to_say_against_our_units() {
    for unit in [
        "update-engine.service",
        "update-engine-activate.service",
        "update-engine-stub.service",
        "update-engine-stub.timer",
        "update-engine-trial-deadline.service",
        "update-reboot-manager.service",
    ] {
        assert_eq!(flaws(unit, &[]), "", "{unit}");
    }
}

/// It may mount the boot partition read-only, for itself: nobody can mount it for writing meanwhile.
#[test]
fn the_trial_deadline_is_armed_before_the_boot_partition_is_checked_or_mounted() {
    let unit = std::fs::read_to_string(shipped("update-engine-trial-deadline.service")).unwrap();
    for line in ["Wants=local-fs-pre.target", "Before=local-fs-pre.target"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn the_daemon_can_want_a_complete_boot_and_wait_for_none() {
    const UNIT: &str = "update-engine.service";
    let shipped = std::fs::read_to_string(shipped("boot-complete.conf")).unwrap();
    assert_eq!(flaws(UNIT, &[("boot-complete.conf", &shipped)]), "");
    // The judge is awake.
    let misspelt = shipped.replace("Wants=", "Wnats=");
    let said = flaws(UNIT, &[("boot-complete.conf", &misspelt)]);
    assert!(said.contains("Unknown key 'Wnats'"), "{said}");
}

#[test]
fn the_daemons_exposure_is_at_most_3() {
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=30"])
        .arg(shipped("update-engine.service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    let verdict = said.lines().rev().find(|line| line.contains("exposure level"));
    assert!(judged.status.success(), "{verdict:?}");
}

#[test]
fn the_reboot_managers_exposure_is_at_most_2_5() {
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=25"])
        .arg(shipped("update-reboot-manager.service"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    let verdict = said.lines().rev().find(|line| line.contains("exposure level"));
    assert!(judged.status.success(), "{verdict:?}");
}

/// Anything that is started by a target of a shutdown could run after `/boot` is gone, and what
/// `shutdown.target` starts would run at a power-off, too.
#[test]
fn the_unit_that_activates_works_when_it_is_stopped_and_nothing_starts_it_at_shutdown() {
    let unit = std::fs::read_to_string(shipped("update-engine-activate.service")).unwrap();
    let lines: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for line in [
        "After=update-engine.service dbus.service",
        "After=boot.automount",
        "RequiresMountsFor=/boot /var/lib/update_engine",
        // Something of the host's own mount namespace uses /boot, so that no automount's time-out unmounts it.
        "WorkingDirectory=/boot",
        "ExecStart=/usr/bin/sleep infinity",
        "RemainAfterExit=yes",
        "ExecStop=@/usr/sbin/update_engine update-engine-activate",
        "TimeoutStopSec=2",
        "KillSignal=SIGKILL",
        "SuccessExitStatus=SIGKILL",
    ] {
        assert!(lines.contains(&line), "{line}");
    }
    for word in ["[Install]", "WantedBy", "DefaultDependencies", "Before="] {
        assert!(!lines.iter().any(|line| line.starts_with(word)), "{word}");
    }
    for unit in std::fs::read_dir(shipped("")).unwrap() {
        let path = unit.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let starts = |line: &str| line.contains("shutdown.target") || line.contains("reboot.target");
        assert!(!lines.any(starts), "{}", path.display());
    }
}

#[test]
fn the_limits_of_a_postinst_are_valid() {
    let limits = std::fs::read_to_string(shipped("update-engine-postinst.conf")).unwrap();
    // It has no file of its own: judged on another unit of the same kind.
    let drop_in = [("limits.conf", limits.as_str())];
    assert_eq!(flaws("update-engine-stub.service", &drop_in), "");
}

#[test]
fn the_place_of_an_old_bus_policy_is_cleared_and_that_of_the_state_is_for_root_alone() {
    // What is root's can be made root's by root alone.
    if !may_become_others() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let policy = root.path().join("etc/dbus-1/system.d/UpdateEngine.conf");
    std::fs::create_dir_all(policy.parent().unwrap()).unwrap();
    std::fs::write(&policy, "").unwrap();
    let boot = Command::new("systemd-tmpfiles")
        .args(["--create", "--remove", "--boot", "--root"])
        .arg(root.path())
        .arg(shipped("tmpfiles.conf"))
        .output()
        .unwrap();
    assert!(boot.status.success(), "{boot:?}");
    assert!(!policy.exists());
    let state = root.path().join("var/lib/update_engine");
    assert_eq!(state.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn units_have_what_drop_ins_scripts_and_other_units_rely_on() {
    for (unit, lines) in [
        (
            "update-engine.service",
            &[
                "ConditionVirtualization=!container",
                "ConditionPathExists=!/usr/.noupdate",
                "Type=dbus",
                "BusName=com.coreos.update1",
                "ExecStart=/usr/sbin/update_engine -foreground -logtostderr",
                "Restart=always",
                "RestartSec=30",
                "WantedBy=multi-user.target",
            ][..],
        ),
        (
            "update-engine-stub.timer",
            &[
                "ConditionPathExists=/usr/.noupdate",
                "OnBootSec=7minutes",
                "OnActiveSec=41minutes",
            ],
        ),
        (
            "update-engine-stub.service",
            &[
                "ConditionPathExists=/usr/.noupdate",
                "Type=oneshot",
                "ExecStart=/usr/sbin/update_engine_stub",
            ],
        ),
    ] {
        let text = std::fs::read_to_string(shipped(unit)).unwrap();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{unit}: {line}");
        }
    }
}
