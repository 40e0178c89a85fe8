#![allow(clippy::unwrap_used, reason = "a test may")]

use nix::errno::Errno;

use super::*;
use crate::disk::{Priority, SlotName};
use crate::host::Percent;

fn load(files: &[(&str, &str)]) -> Config {
    let loaded = Config::load(|path| {
        let file = files.iter().find(|(name, _)| *name == path);
        Ok(file.map(|(_, text)| text.as_bytes().to_vec()))
    });
    loaded.unwrap()
}

/// What files hold, or why they can't be read.
fn reader<'a>(
    files: &'a [(&'a str, Result<&'a str, Errno>)],
) -> impl Fn(&str) -> Result<Option<Vec<u8>>, Unreadable> + 'a {
    |path| match files.iter().find(|(name, _)| *name == path) {
        None => Ok(None),
        Some((_, Ok(text))) => Ok(Some(text.as_bytes().to_vec())),
        Some((_, Err(errno))) => Err(Unreadable {
            path: path.to_owned(),
            source: (*errno).into(),
        }),
    }
}

#[test]
fn a_file_that_can_not_be_read_is_no_missing_one_whichever_it_is_and_why_ever() {
    let errors = [
        Errno::EIO,
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::EACCES,
        Errno::EISDIR,
        Errno::ELOOP,
        Errno::ENOTDIR,
        Errno::ENOMEM,
        Errno::ESTALE,
    ];
    for path in UPDATE_FILES.iter().chain(&OEM_FILES) {
        for errno in errors {
            let mut files: Vec<_> = UPDATE_FILES
                .iter()
                .chain(&OEM_FILES)
                .map(|path| (*path, Ok("SERVER=disabled\nHEALTH_UNITS=a")))
                .collect();
            files
                .iter_mut()
                .filter(|(name, _)| name == path)
                .for_each(|file| file.1 = Err(errno));
            let refused = Config::load(reader(&files)).unwrap_err();
            assert_eq!(
                (refused.path.as_str(), refused.source.raw_os_error()),
                (*path, Some(errno as i32))
            );
            assert_eq!(effective(reader(&files)).unwrap_err().path, *path);
            // The OEM's files say nothing about health: they hold up no trial.
            let health = HealthSettings::load(reader(&files));
            assert_eq!(health.is_err(), UPDATE_FILES.contains(path), "{path}");
        }
    }
    assert!(Config::load(reader(&[])).is_ok());
}

#[test]
fn lines_that_almost_are_settings_keep_their_meaning_and_are_told() {
    let config = load(&[
        (
            UPDATE_FILES[0],
            " SERVER=disabled\nGROUP=beta\r\nHEALTH_SETTLE=5m",
        ),
        (OEM_FILES[1], "export ID=x"),
    ]);
    assert_eq!(config.server, ServerSetting::At(PUBLIC_SERVER.to_owned()));
    assert_eq!((config.group.as_str(), config.oem_id.as_str()), ("beta\r", ""));
    assert_eq!(
        config.warnings(),
        [
            "HEALTH_SETTLE=5m can't be used: the default counts",
            "/etc/flatcar/update.conf, line 1: SERVER is not set here, since a blank stands before it",
            "/etc/flatcar/update.conf, line 2: the value of GROUP ends in a carriage return, which belongs to it",
            "/usr/share/oem/oem-release, line 1: ID is not set here, since `export` stands before it",
        ]
    );
}

#[test]
fn contents_are_told_apart() {
    let of = |text| load(&[(UPDATE_FILES[0], text)]).fingerprint;
    assert_eq!(of(" GROUP=x"), of(" GROUP=x"));
    assert_ne!(of(" GROUP=x"), of(" GROUP=x\n"));
}

#[test]
fn without_files_everything_has_its_default() {
    let config = load(&[]);
    assert_eq!(config.group, "stable");
    assert_eq!(config.app_id, DEFAULT_APP_ID);
    assert_eq!(config.server, ServerSetting::At(PUBLIC_SERVER.to_owned()));
    assert!(config.server.is_public());
    assert_eq!(config.version, "");
    assert_eq!(config.credentials, None);
    assert_eq!(config.pcr_policy_server, None);
}

#[test]
fn the_first_file_that_holds_the_key_wins_even_with_an_empty_value() {
    let config = load(&[
        (UPDATE_FILES[0], "GROUP=\nMACHINE_ALIAS=here"),
        (
            UPDATE_FILES[1],
            "GROUP=beta\nMACHINE_ALIAS=there\nSERVER=http://one/",
        ),
        (
            UPDATE_FILES[2],
            "FLATCAR_RELEASE_VERSION=1.2.3\nSERVER=http://two/",
        ),
    ]);
    assert_eq!(config.group, "");
    assert_eq!(config.machine_alias, "here");
    assert_eq!(config.server, ServerSetting::At("http://one/".to_owned()));
    assert!(!config.server.is_public());
    assert_eq!(config.version, "1.2.3");
}

#[test]
fn the_oem_is_looked_up_in_its_own_files() {
    let config = load(&[
        (UPDATE_FILES[0], "ID=wrong"),
        (OEM_FILES[0], "ID=\"ami\""),
        (OEM_FILES[1], "ID=qemu\nVERSION_ID=7"),
    ]);
    assert_eq!(
        (config.oem_id.as_str(), config.oem_version.as_str()),
        ("ami", "7")
    );
}

#[test]
fn a_password_without_a_user_is_no_credential_and_a_user_needs_no_password() {
    assert_eq!(
        load(&[(UPDATE_FILES[0], "DOWNLOAD_PASSWORD=x")]).credentials,
        None
    );
    let credentials = load(&[(UPDATE_FILES[0], "DOWNLOAD_USER=me")])
        .credentials
        .unwrap();
    assert_eq!(
        (&credentials.user[..], &credentials.password[..]),
        (&b"me"[..], &b""[..])
    );
}

#[test]
fn the_word_disabled_is_a_server_setting_of_its_own() {
    let config = load(&[(UPDATE_FILES[0], "SERVER=disabled\n")]);
    assert_eq!(config.server, ServerSetting::Disabled);
    assert!(!config.server.is_public());
}

#[test]
fn bytes_that_are_no_text_spoil_only_their_own_value() {
    let config = Config::load(|path| {
        Ok((path == UPDATE_FILES[0]).then(|| b"MACHINE_ALIAS=\xff\xfe\nGROUP=alpha".to_vec()))
    })
    .unwrap();
    assert_eq!(config.group, "alpha");
    assert_eq!(config.machine_alias, "\u{fffd}\u{fffd}");
}

#[test]
fn the_grammar_trims_nothing_and_knows_no_comments() {
    let cases = [
        ("A=b", "A", Some("b")),
        ("A=b=c", "A", Some("b=c")),
        ("A= b ", "A", Some(" b ")),
        (" A=b", "A", None),
        ("#A=b", "#A", Some("b")),
        ("A=b\r\n", "A", Some("b\r")),
        ("A", "A", None),
        ("A=", "A", Some("")),
        ("A=1\nA=2", "A", Some("2")),
        ("A=\"b\"", "A", Some("b")),
        ("A='b'", "A", Some("b")),
        ("A=\"b'", "A", Some("\"b'")),
        ("A=\"", "A", Some("\"")),
        ("A=\"\"", "A", Some("")),
        ("A=\"'b'\"", "A", Some("'b'")),
    ];
    for (text, key, expected) in cases {
        assert_eq!(KeyValues::parse(text).get(key), expected, "{text:?}");
    }
}

#[test]
fn health_settings_have_defaults_and_units_their_suffix() {
    let health = load(&[]).health;
    assert_eq!(health.units, []);
    assert_eq!(health.settle.as_secs(), 45);
    assert_eq!(health.deadline.map(|deadline| deadline.as_secs()), Some(600));
    let health = load(&[(
        UPDATE_FILES[0],
        "HEALTH_UNITS=\"kubelet  data.mount\"\nHEALTH_SETTLE=5\nHEALTH_DEADLINE=0",
    )])
    .health;
    let units: Vec<_> = health.units.iter().map(UnitName::as_str).collect();
    assert_eq!(units, ["kubelet.service", "data.mount"]);
    assert_eq!(health.settle.as_secs(), 5);
    assert_eq!(health.deadline, None);
}

#[test]
fn words_that_can_not_be_units_are_kept_apart_and_told() {
    let config = load(&[(UPDATE_FILES[0], "HEALTH_UNITS=a/b kubelet grün")]);
    assert_eq!(config.health.no_units, ["a/b", "grün"]);
    assert_eq!(config.health.units.len(), 1);
    let told = config.warnings();
    assert!(
        told[0].contains("\"a/b\"") && told[1].contains("\"grün\""),
        "{told:?}"
    );
}

#[test]
fn seconds_that_are_no_number_have_their_default_and_are_named() {
    let config = load(&[(UPDATE_FILES[0], "HEALTH_SETTLE=5m\nHEALTH_DEADLINE=-1")]);
    let health = config.health;
    assert_eq!(health.settle.as_secs(), 45);
    assert_eq!(health.deadline.map(|deadline| deadline.as_secs()), Some(600));
    assert_eq!(config.refused, ["HEALTH_SETTLE=5m", "HEALTH_DEADLINE=-1"]);
}

#[test]
fn an_update_that_waits_stays_unless_somebody_says_otherwise() {
    for (setting, expected) in [
        ("", WaitingUpdate::Stays),
        ("REPLACE_WAITING_UPDATE=", WaitingUpdate::Stays),
        ("REPLACE_WAITING_UPDATE=no", WaitingUpdate::Stays),
        ("REPLACE_WAITING_UPDATE=YES PLEASE", WaitingUpdate::Stays),
        ("REPLACE_WAITING_UPDATE=yes", WaitingUpdate::Replaceable),
        ("REPLACE_WAITING_UPDATE=\"true\"", WaitingUpdate::Replaceable),
    ] {
        let config = load(&[(UPDATE_FILES[0], setting)]);
        assert_eq!(config.waiting_update, expected, "{setting}");
    }
}

#[test]
fn whoever_asks_for_signed_metadata_gets_it_however_he_writes_it() {
    for (setting, expected) in [
        ("", false),
        ("REQUIRE_SIGNED_METADATA=", false),
        ("REQUIRE_SIGNED_METADATA=no", false),
        ("REQUIRE_SIGNED_METADATA=yes", true),
        ("REQUIRE_SIGNED_METADATA=1", true),
        ("REQUIRE_SIGNED_METADATA=Yes", true),
        ("REQUIRE_SIGNED_METADATA=yes\r", true),
    ] {
        assert_eq!(
            load(&[(UPDATE_FILES[0], setting)]).signed_metadata,
            expected,
            "{setting}"
        );
    }
    let warnings = load(&[(UPDATE_FILES[0], "REQUIRE_SIGNED_METADATA=Yes")]).warnings();
    assert_eq!(
        warnings,
        ["REQUIRE_SIGNED_METADATA=Yes can't be used: yes counts"]
    );
}

#[test]
fn every_setting_has_a_default_that_it_takes_and_a_key_of_its_own() {
    for setting in SETTINGS {
        assert!(setting.kind.takes(setting.default), "{}", setting.key);
        assert!(setting.kind.takes(setting.otherwise), "{}", setting.key);
        let of_key = SETTINGS
            .iter()
            .filter(|other| (other.key, other.place) == (setting.key, setting.place));
        assert_eq!(of_key.count(), 1, "{}", setting.key);
    }
}

#[test]
fn what_counts_is_told_with_the_file_it_comes_from() {
    let files = [
        (
            UPDATE_FILES[0],
            "GROUP=beta\nHEALTH_SETTLE=soon\nINSTALL_PRIORITY=\n",
        ),
        (UPDATE_FILES[2], "GROUP=alpha\nFLATCAR_RELEASE_VERSION=1.2.3"),
    ];
    let effective = effective(|path| {
        let file = files.iter().find(|(name, _)| *name == path);
        Ok(file.map(|file| file.1.as_bytes().to_vec()))
    })
    .unwrap();
    let told = |key: &str| {
        let found = effective.iter().find(|found| found.setting.key == key).unwrap();
        (found.value.clone(), found.origin)
    };
    assert_eq!(effective.len(), SETTINGS.len());
    assert_eq!(told("GROUP"), ("beta".into(), ValueOrigin::File(UPDATE_FILES[0])));
    assert_eq!(
        told("FLATCAR_RELEASE_VERSION"),
        ("1.2.3".into(), ValueOrigin::File(UPDATE_FILES[2]))
    );
    assert_eq!(
        told("HEALTH_SETTLE"),
        ("45".into(), ValueOrigin::Refused(UPDATE_FILES[0]))
    );
    assert_eq!(told("INSTALL_PRIORITY"), ("low".into(), ValueOrigin::Default));
    assert_eq!(told("SERVER"), (PUBLIC_SERVER.into(), ValueOrigin::Default));
}

#[test]
fn updates_that_the_timer_found_are_quiet_and_those_that_were_asked_for_are_not() {
    let load = load(&[]).load;
    assert_eq!(
        (load.scheduled, load.on_demand),
        (Priority::Low, Priority::Normal)
    );
    assert!(load.pressure.is_none());
    assert_eq!(load.download, None);
}

#[test]
fn what_an_installation_may_take_is_configured() {
    let text = "INSTALL_PRIORITY=idle\nINSTALL_PRIORITY_ON_DEMAND=low\nINSTALL_PRESSURE_IO=50\nDOWNLOAD_LIMIT=1000000";
    let config = load(&[(UPDATE_FILES[0], text)]);
    assert_eq!(config.refused, [""; 0]);
    let load = config.load;
    assert_eq!((load.scheduled, load.on_demand), (Priority::Idle, Priority::Low));
    assert_eq!(load.pressure.io, Percent::new(50));
    assert_eq!(load.pressure.cpu, None);
    assert_eq!(load.download.map(std::num::NonZeroU64::get), Some(1_000_000));
}

#[test]
fn hardware_stands_behind_the_trial_deadline_only_where_somebody_says_so() {
    for (text, expected) in [
        ("", WatchdogChoice::Softdog),
        ("TRIAL_DEADLINE_WATCHDOG=any", WatchdogChoice::Softdog),
        ("TRIAL_DEADLINE_WATCHDOG=hardware", WatchdogChoice::Hardware),
        ("TRIAL_DEADLINE_WATCHDOG=off", WatchdogChoice::Off),
    ] {
        let read = |path: &str| Ok((path == UPDATE_FILES[0]).then(|| text.into()));
        assert_eq!(
            TrialDeadlineSettings::load(read).unwrap().watchdog,
            expected,
            "{text}"
        );
    }
}

#[test]
fn limits_out_of_range_are_named_and_do_not_count() {
    let text = "INSTALL_PRIORITY=lowest\nINSTALL_PRESSURE_IO=101\nINSTALL_PRESSURE_CPU=0\nDOWNLOAD_LIMIT=100";
    let config = load(&[(UPDATE_FILES[0], text)]);
    let load = config.load;
    assert_eq!(load.scheduled, Priority::Low);
    assert!(load.pressure.is_none());
    assert_eq!(load.download, None);
    assert_eq!(
        config.refused,
        [
            "INSTALL_PRIORITY=lowest",
            "INSTALL_PRESSURE_IO=101",
            "DOWNLOAD_LIMIT=100"
        ]
    );
}

#[test]
fn partitions_beside_the_slot_have_a_pair_and_a_name_that_payloads_can_use() {
    let text = "PARTITION_oem=/dev/disk/by-partlabel/OEM-%s\nPARTITION_fixed=/dev/sda6\nPARTITION_usr=/dev/a-%s\nPARTITION_a b=/x%s\nPARTITION_unset=";
    let later = "PARTITION_oem=/other-%s\nPARTITION_unset=/unset-%s\nPARTITION_firmware=/dev/fw%s";
    let config = load(&[(UPDATE_FILES[0], text), (UPDATE_FILES[1], later)]);
    let targets: Vec<_> = config
        .extra_partitions
        .iter()
        .map(|target| (target.name.to_string(), target.pair.path(SlotName::B)))
        .collect();
    let expected = [("firmware", "/dev/fwB"), ("oem", "/dev/disk/by-partlabel/OEM-B")];
    assert_eq!(
        targets,
        expected.map(|(name, path)| (name.to_owned(), path.to_owned()))
    );
    assert_eq!(
        config.refused,
        [
            "PARTITION_a b=/x%s",
            "PARTITION_fixed=/dev/sda6",
            "PARTITION_usr=/dev/a-%s"
        ]
    );
}
