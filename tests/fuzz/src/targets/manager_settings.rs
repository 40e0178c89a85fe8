//! Settings of the reboot manager: `update.conf` and windows.

use jiff::{SignedDuration, Timestamp};
use update_engine::reboot_lock::{MANAGER_SETTINGS, ManagerValues};
use update_engine::reboot_manager::{ManagerPace, ManagerSettings, Windows};

use super::scratch;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "manager-settings",
    property: "A window opens at the minute that it says, stays open for its length, and the next opening is the \
               first after now; settings that can't be used are refused, by name.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    match input.byte() % 3 {
        0 => windows(&mut input, bug),
        1 => texts(&mut input),
        _ => settings(&mut input),
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY: i64 = 86_400;

/// Windows in UTC beside arithmetic on seconds of the week.
fn windows(input: &mut Input<'_>, bug: Bug) {
    let (mut text, mut all) = (Vec::new(), Vec::new());
    for _ in 0..=input.below(3) {
        let day = input.is_odd().then(|| input.below(7));
        let (hour, minute) = (i64::from(input.byte() % 24), i64::from(input.byte() % 60));
        let length = 1 + i64::from(input.short()) * 10 % (7 * DAY - 1);
        let days = day.map_or(String::new(), |day| format!("{} ", DAYS[day]));
        text.push(format!("{days}{hour:02}:{minute:02} {length}s"));
        for on in 0..7 {
            if day.is_none_or(|day| usize::try_from(on) == Ok(day)) {
                all.push((on * DAY + hour * 3600 + minute * 60, length));
            }
        }
    }
    let windows = Windows::read("", "", &text.join(";"), "UTC").expect("sound windows");
    let now = i64::from(input.short()) * 60_000 + i64::from(input.short());
    let at = Timestamp::from_second(now).expect("a time");
    // 1970 began on a Thursday.
    let of_week = (now + 3 * DAY).rem_euclid(7 * DAY);
    let since = |start: i64| (of_week - start).rem_euclid(7 * DAY);
    let mut is_open = all.iter().any(|(start, length)| since(*start) <= *length);
    if bug.strikes(all.len() > 7 && of_week > 6 * DAY + 3600) {
        is_open = !is_open;
    }
    assert_eq!(windows.is_open(at), is_open, "{text:?} at {at}");
    let until = |start: i64| match (start - of_week).rem_euclid(7 * DAY) {
        0 => 7 * DAY,
        later => later,
    };
    let next = all.iter().map(|(start, _)| now + until(*start)).min();
    assert_eq!(
        windows.next_opening(at).map(Timestamp::as_second),
        next,
        "{text:?} at {at}"
    );
}

/// Any texts, at any time.
fn texts(input: &mut Input<'_>) {
    const ZONES: [&str; 5] = [
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Pacific/Apia",
        "Nowhere",
    ];
    let zone = *input.one_of(&ZONES);
    let (start, length, further) = (input.text(), input.text(), input.text());
    let seconds = input.long().cast_signed() % 253_402_207_200;
    let Ok(windows) = Windows::read(&start, &length, &further, zone) else {
        return;
    };
    let Ok(now) = Timestamp::from_second(seconds) else {
        return;
    };
    let next = windows.next_opening(now);
    assert!(next.is_none_or(|next| next > now));
    if let Some(next) = next {
        assert!(windows.is_open(next), "closed at its opening {next}");
        assert!(next.duration_since(now) <= SignedDuration::from_hours(24 * 10));
    }
    assert!(!windows.shown(now).is_empty());
    assert!(windows.shortest().is_none_or(|shortest| shortest.as_secs() >= 1));
}

/// The file, of any lines or of known keys.
fn settings(input: &mut Input<'_>) {
    let mut text = Vec::new();
    for _ in 0..input.byte() % 8 {
        let key = input.one_of(MANAGER_SETTINGS).key;
        let values = [
            "off",
            "etcd-lock",
            "fleet-lock",
            "v3",
            "/no/file",
            "23:00",
            "1h",
            "a,b",
            "http://[::1]:1/",
        ];
        let value = if input.is_odd() {
            (*input.one_of(&values)).as_bytes()
        } else {
            input.list()
        };
        text.extend([key.as_bytes(), b"=", value, b"\n"].concat());
    }
    text.extend(input.rest());
    let host = scratch::host(&[
        ("/etc/flatcar/update.conf", Some(&text)),
        ("/etc/machine-id", Some(b"0123456789abcdef0123456789abcdef")),
    ]);
    let values = ManagerValues::read(&host).expect("a file that can be read");
    for setting in MANAGER_SETTINGS {
        let value = values.get(setting.key);
        assert_eq!(value.trim(), value, "{}", setting.key);
    }
    match ManagerSettings::read(host.clone(), ManagerPace::Hurried) {
        Ok(settings) => {
            assert!(settings.grace.as_secs() <= 86_400);
            assert_eq!(settings.strategy, values.strategy().expect("the same"));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
