//! Reboot windows: when a node may reboot. Pure: times are told.
//!
//! | setting | syntax |
//! |---|---|
//! | `REBOOT_WINDOW_START`, `…_LENGTH` | locksmith's: `23:00` or `Thu 23:00`, and `1h30m` |
//! | `REBOOT_WINDOWS` | `Mon..Fri 22:00 4h; Sat,Sun 01:00 6h30m` |
//!
//! A window opens when clocks of its time zone show its start. On a day that lacks this time it opens as much later as
//! clocks were set forward; on one that has it twice, the first time, and once. Its length is time that passes, whatever
//! clocks are set to meanwhile; its last instant belongs to it.

use std::env::VarError;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Shorter windows are a slip: a node would reboot by luck only.
const LEAST: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A setting that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowFault {
    /// Only one of two settings that go together.
    #[error("either both or neither of REBOOT_WINDOW_START and REBOOT_WINDOW_LENGTH must be set")]
    Half,
    /// Not a time, or not a day of the week.
    #[error("{0:?} is no start of a window, such as 23:00 or Thu 23:00")]
    Start(String),
    /// Not a length.
    #[error("{0:?} is no length of a window, such as 1h30m")]
    Length(String),
    /// It would never close.
    #[error("a window of {0:?} is longer than the time to the next one")]
    TooLong(String),
    /// Not a window of `REBOOT_WINDOWS`.
    #[error("{0:?} is no window, such as Mon..Fri 22:00 4h")]
    Window(String),
    /// It would be over before anything can be done in it.
    #[error("a window of {0:?} is too short: a second at least")]
    TooShort(String),
    /// The node's own zone is set, and can't be read.
    #[error(
        "the node's time zone, of TZ or /etc/localtime, can't be used ({0}): mend it, or set REBOOT_TIME_ZONE"
    )]
    NodeZone(String),
    /// A zone that this machine doesn't know.
    #[error("the time zone {0:?} is unknown: is tzdata installed?")]
    Zone(String),
}

/// A window that opens again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// On these days, Monday first.
    days: [bool; 7],
    hour: i8,
    minute: i8,
    length: Duration,
}

/// All windows of a node; none means that it may reboot at any time.
#[derive(Debug, Clone)]
pub struct Windows {
    windows: Vec<Window>,
    zone: TimeZone,
}

impl Windows {
    /// Reads the settings; what is empty isn't set. The zone is looked up in the system's database.
    ///
    /// # Errors
    /// [`WindowFault`].
    pub fn read(start: &str, length: &str, further: &str, zone: &str) -> Result<Self, WindowFault> {
        let mut windows = Vec::new();
        match (start.is_empty(), length.is_empty()) {
            (true, true) => {}
            (false, false) => windows.push(Window::of_locksmith(start, length)?),
            _ => return Err(WindowFault::Half),
        }
        for text in further.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            windows.push(text.parse()?);
        }
        if windows.is_empty() && !further.is_empty() {
            return Err(WindowFault::Window(further.to_owned()));
        }
        let zone = match zone {
            // Nothing depends on it.
            "" if windows.is_empty() => TimeZone::UTC,
            "" => zone_of_node()?,
            name if is_utc(name) => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| WindowFault::Zone(name.to_owned()))?,
        };
        Ok(Self { windows, zone })
    }

    /// Whether one is open at `now`.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let is_within = |(start, length): (Timestamp, Duration)| {
            let passed = Duration::try_from(now.duration_since(start));
            passed.is_ok_and(|passed| passed <= length)
        };
        self.windows.is_empty() || self.openings(now, -8, 1).any(is_within)
    }

    /// When the next one opens after `now`; nothing if there are none.
    #[must_use]
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        let starts = self.openings(now, -1, 9).map(|(start, _)| start);
        starts.filter(|start| *start > now).min()
    }

    /// Length of the shortest; nothing if there are none.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        self.windows.iter().map(|window| window.length).min()
    }

    /// `time` as clocks of the windows' zone show it.
    #[must_use]
    pub fn shown(&self, time: Timestamp) -> String {
        let time = time.to_zoned(self.zone.clone());
        time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    /// Starts and lengths from so many days before `now` to so many after.
    fn openings(&self, now: Timestamp, from: i64, to: i64) -> impl Iterator<Item = (Timestamp, Duration)> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days =
            (from..=to).filter_map(move |days| today.checked_add(Span::new().try_days(days).ok()?).ok());
        days.flat_map(move |date| {
            let of_day = self.windows.iter().filter(move |window| window.is_on(date));
            of_day.filter_map(move |window| Some((window.opening(date, &self.zone)?, window.length)))
        })
    }
}

impl Window {
    fn of_locksmith(start: &str, length: &str) -> Result<Self, WindowFault> {
        let fault = || WindowFault::Start(start.to_owned());
        let mut words = start.split_whitespace();
        let (days, time, most) = match (words.next(), words.next(), words.next()) {
            (Some(time), None, _) => ([true; 7], time, DAY),
            (Some(day), Some(time), None) => {
                let mut days = [false; 7];
                days[weekday(day).ok_or_else(fault)?] = true;
                (days, time, WEEK)
            }
            _ => return Err(fault()),
        };
        let (hour, minute) = time_of_day(time).ok_or_else(fault)?;
        let duration = go_duration(length).ok_or_else(|| WindowFault::Length(length.to_owned()))?;
        check_length(duration, most, length)?;
        Ok(Self {
            days,
            hour,
            minute,
            length: duration,
        })
    }

    fn is_on(&self, date: Date) -> bool {
        self.days[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())]
    }

    fn opening(&self, date: Date, zone: &TimeZone) -> Option<Timestamp> {
        let start = date.at(self.hour, self.minute, 0, 0);
        // Compatible: later by the gap where the time is missing, the first where it comes twice.
        zone.to_ambiguous_timestamp(start).compatible().ok()
    }
}

/// The zone that `TZ` or `/etc/localtime` names; UTC where nobody has set one.
fn zone_of_node() -> Result<TimeZone, WindowFault> {
    TimeZone::try_system().or_else(|error| {
        let fault = || WindowFault::NodeZone(error.to_string());
        let localtime = Path::new("/etc/localtime");
        let name = match std::env::var("TZ") {
            Ok(name) => name.trim_start_matches(':').to_owned(),
            Err(VarError::NotUnicode(_)) => return Err(fault()),
            // Also a link that leads nowhere.
            Err(VarError::NotPresent) => match fs::read_link(localtime) {
                Ok(link) => name_below_zoneinfo(&link),
                Err(_) if localtime.exists() => return Err(fault()),
                Err(_) => return Ok(TimeZone::UTC),
            },
        };
        is_utc(&name).then_some(TimeZone::UTC).ok_or_else(fault)
    })
}

/// The zone whose file `link` is, in the system's database.
fn name_below_zoneinfo(link: &Path) -> String {
    let link = link.to_string_lossy();
    let (_, name) = link.rsplit_once("zoneinfo/").unwrap_or_default();
    name.to_owned()
}

/// Whether `name` is of the zone that is there without a database, on images without tzdata.
fn is_utc(name: &str) -> bool {
    ["UTC", "Etc/UTC"]
        .iter()
        .any(|utc| name.eq_ignore_ascii_case(utc))
}

impl FromStr for Window {
    type Err = WindowFault;

    /// `[DAYS ]HH:MM LENGTH`.
    fn from_str(text: &str) -> Result<Self, WindowFault> {
        let fault = || WindowFault::Window(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, time, length) = match words.as_slice() {
            [time, length] => ([true; 7], *time, *length),
            [days, time, length] => (days_of(days).ok_or_else(fault)?, *time, *length),
            _ => return Err(fault()),
        };
        let (hour, minute) = time_of_day(time).ok_or_else(fault)?;
        let duration = go_duration(length).ok_or_else(fault)?;
        check_length(duration, WEEK, length)?;
        Ok(Self {
            days,
            hour,
            minute,
            length: duration,
        })
    }
}

/// Refuses a window of this length, in words `text`, that never closes, or that is over at once.
fn check_length(length: Duration, most: Duration, text: &str) -> Result<(), WindowFault> {
    if length >= most {
        Err(WindowFault::TooLong(text.to_owned()))
    } else if length < LEAST {
        Err(WindowFault::TooShort(text.to_owned()))
    } else {
        Ok(())
    }
}

/// Days of the week and ranges of them, separated by commas: `Mon..Fri,Sun`. A range may go over the weekend.
fn days_of(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = match part.split_once("..").or_else(|| part.split_once('-')) {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None => (weekday(part)?, weekday(part)?),
        };
        let mut day = first;
        days[day] = true;
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    Some(days)
}

fn weekday(text: &str) -> Option<usize> {
    WEEKDAYS.iter().position(|day| text.eq_ignore_ascii_case(day))
}

fn time_of_day(text: &str) -> Option<(i8, i8)> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, most: i8| {
        let is_plain = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| is_plain && *number <= most)
    };
    Some((number(hour, 23)?, number(minute, 59)?))
}

/// A duration as Go writes it: `1h30m`, `1.5h`, `90m`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.checked_add(scaled(number, *unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(nanos))
}

/// A decimal number of units.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let parse = |digits: &str| {
        if digits.is_empty() {
            Some(0)
        } else {
            digits.parse::<u64>().ok()
        }
    };
    let fraction = &fraction[..fraction.len().min(9)];
    let power = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(parse(fraction)?) * u128::from(unit) / u128::from(power);
    parse(whole)?
        .checked_mul(unit)?
        .checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn further(text: &str, zone: &str) -> Windows {
        Windows::read("", "", text, zone).unwrap()
    }

    #[test]
    fn without_windows_a_node_may_reboot_at_any_time() {
        let windows = further("", "");
        assert!(windows.is_open(at("2026-11-28T12:00:00Z")));
        assert_eq!(windows.next_opening(at("2026-11-28T12:00:00Z")), None);
    }

    #[test]
    fn locksmiths_windows_are_read_as_it_does() {
        let daily = Windows::read("14:00", "1h", "", "UTC").unwrap();
        for (time, open) in [
            ("2026-11-28T13:59:59Z", false),
            ("2026-11-28T14:00:00Z", true),
            ("2026-11-28T15:00:00Z", true),
            ("2026-11-28T15:00:01Z", false),
        ] {
            assert_eq!(daily.is_open(at(time)), open, "{time}");
        }
        assert_eq!(
            daily.next_opening(at("2026-11-28T14:00:00Z")),
            Some(at("2026-11-29T14:00:00Z"))
        );
        // Thursday into Saturday.
        let weekly = Windows::read("tHu 23:00", "26h", "", "UTC").unwrap();
        assert!(weekly.is_open(at("2026-11-27T12:00:00Z")));
        assert!(weekly.is_open(at("2026-11-28T01:00:00Z")));
        assert!(!weekly.is_open(at("2026-11-28T01:00:01Z")));
        assert_eq!(
            weekly.next_opening(at("2026-11-27T12:00:00Z")),
            Some(at("2026-12-03T23:00:00Z"))
        );
        for (start, length) in [
            ("14:00", ""),
            ("", "1h"),
            ("24:00", "1h"),
            ("14", "1h"),
            ("14:60", "1h"),
            ("Thursday 14:00", "1h"),
            ("Thu Fri 14:00", "1h"),
            ("14:00", "24h"),
            ("Thu 14:00", "168h"),
            ("14:00", "-1h"),
            ("14:00", "1"),
            ("14:00", "1 h"),
            ("14:00", "h"),
            ("14:00", "0"),
            ("14:00", "0s"),
            ("Thu 14:00", "1ns"),
        ] {
            assert!(
                Windows::read(start, length, "", "UTC").is_err(),
                "{start} {length}"
            );
        }
    }

    #[test]
    fn several_windows_with_days_may_go_over_midnight_and_weekend() {
        let windows = further("Mon..Fri 22:00 4h; Sat,Sun 01:00 6h30m; fri-mon 12:00 1m", "UTC");
        for (time, open) in [
            // Friday's, on Saturday.
            ("2026-11-28T01:59:00Z", true),
            ("2026-11-28T07:30:00Z", true),
            ("2026-11-28T07:31:00Z", false),
            ("2026-11-28T12:00:30Z", true),
            ("2026-11-28T22:30:00Z", false),
            ("2026-11-30T12:00:00Z", true),
            ("2026-12-01T12:00:00Z", false),
        ] {
            assert_eq!(windows.is_open(at(time)), open, "{time}");
        }
        for text in [
            "22:00",
            "Mon 22:00",
            "Mon..Foo 22:00 1h",
            "22:00 1w",
            "22:00 168h",
            "a b c d",
            "22:00 0",
            "Mon 22:00 999ms",
            ";",
            " ; ; ",
        ] {
            assert!(Windows::read("", "", text, "UTC").is_err(), "{text}");
        }
    }

    #[test]
    fn on_a_day_that_lacks_the_hour_it_opens_later_by_the_gap() {
        // 02:00 to 03:00 is missing on 29 March 2026.
        let windows = further("02:30 1h", "Europe/Berlin");
        assert_eq!(
            windows.next_opening(at("2026-03-28T12:00:00Z")),
            Some(at("2026-03-29T01:30:00Z"))
        );
        assert!(windows.is_open(at("2026-03-29T02:30:00Z")));
        assert!(!windows.is_open(at("2026-03-29T02:30:01Z")));
        assert_eq!(
            windows.shown(at("2026-03-29T01:30:00Z")),
            "2026-03-29 03:30:00 CEST"
        );
    }

    #[test]
    fn on_a_day_that_has_the_hour_twice_it_opens_the_first_time_for_its_whole_length() {
        // 02:00 to 03:00 comes twice on 25 October 2026.
        let windows = further("02:30 1h", "Europe/Berlin");
        assert_eq!(
            windows.next_opening(at("2026-10-24T12:00:00Z")),
            Some(at("2026-10-25T00:30:00Z"))
        );
        assert!(windows.is_open(at("2026-10-25T01:30:00Z")), "02:30 again");
        assert!(!windows.is_open(at("2026-10-25T01:31:00Z")));
        assert_eq!(
            windows.next_opening(at("2026-10-25T00:30:00Z")),
            Some(at("2026-10-26T01:30:00Z"))
        );
        // A window over the change has its length in time that passes.
        let long = further("Sun 00:00 6h", "Europe/Berlin");
        assert!(long.is_open(at("2026-10-25T04:00:00Z")), "05:00 there");
        assert!(!long.is_open(at("2026-10-25T04:00:01Z")));
    }

    #[test]
    fn a_zone_of_the_node_that_can_not_be_used_is_not_taken_for_utc() {
        const BAD: &str = "Europe/Atlantis";
        if std::env::var("TZ").is_ok_and(|zone| zone == BAD) {
            let fault = Windows::read("", "", "22:00 1h", "").unwrap_err();
            assert!(matches!(fault, WindowFault::NodeZone(_)), "{fault}");
            // Nothing depends on it here.
            assert!(Windows::read("", "", "", "").is_ok());
            assert!(Windows::read("", "", "22:00 1h", "UTC").is_ok());
            return;
        }
        // Once more, in a process of its own with another zone.
        let name = std::thread::current().name().unwrap().to_owned();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env("TZ", BAD)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    fn utc_needs_no_database_of_zones() {
        if std::env::var("TZDIR").is_ok_and(|directory| directory.ends_with("one-zone")) {
            assert!(Windows::read("", "", "22:00 1h", "Europe/Berlin").is_err());
            for zone in ["UTC", "Etc/UTC", "utc", ""] {
                let windows = Windows::read("", "", "22:00 1h", zone).unwrap();
                assert!(windows.is_open(at("2026-11-28T22:30:00Z")), "{zone}");
            }
            return;
        }
        // Once more, in a process of its own whose database lacks it.
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("one-zone");
        fs::create_dir(&directory).unwrap();
        fs::copy("/usr/share/zoneinfo/Europe/Berlin", directory.join("Berlin")).unwrap();
        let name = std::thread::current().name().unwrap().to_owned();
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--nocapture"])
            .env("TZ", "UTC")
            .env("TZDIR", &directory)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    fn a_link_to_a_zone_names_it() {
        let named = |link: &str| name_below_zoneinfo(Path::new(link));
        assert_eq!(named("../usr/share/zoneinfo/Etc/UTC"), "Etc/UTC");
        assert_eq!(named("/usr/share/zoneinfo/UTC"), "UTC");
        assert_eq!(named("/var/lib/UTC"), "");
    }

    #[test]
    fn a_zone_that_nobody_knows_is_refused() {
        assert_eq!(
            Windows::read("", "", "", "Europe/Atlantis")
                .unwrap_err()
                .to_string(),
            "the time zone \"Europe/Atlantis\" is unknown: is tzdata installed?"
        );
    }

    #[test]
    fn lengths_are_gos() {
        let seconds = |text: &str| go_duration(text).map(|length| length.as_secs_f64());
        for (text, length) in [
            ("1h", Some(3600.0)),
            ("1.5h", Some(5400.0)),
            ("1h30m10s", Some(5410.0)),
            (".5m", Some(30.0)),
            ("300ms", Some(0.3)),
            ("+5s", Some(5.0)),
            ("0", Some(0.0)),
            ("", None),
            ("1", None),
            ("1d", None),
            ("1.2.3h", None),
            ("9999999999h", None),
        ] {
            assert_eq!(seconds(text), length, "{text}");
        }
    }
}
