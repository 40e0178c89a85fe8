//! Time of the daemon's first start in this boot, kept across restarts.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::Host;

/// File with one line: the boot's id and the seconds since the boot. On a tmpfs, so a reboot clears
/// it.
const FIRST_START: &str = "/run/update_engine/first-start";
/// Clock that counts while the machine is suspended too, and can't be set.
const UPTIME: &str = "/proc/uptime";

impl Host {
    /// Time since the daemon's first start in this boot; the first call in a boot records the start
    /// and returns zero.
    ///
    /// # Errors
    /// When the kernel's uptime can't be read, or the first start can't be recorded.
    pub fn since_first_start(&self) -> io::Result<Duration> {
        let (boot, now) = (self.boot_id().map_err(io::Error::other)?, self.up()?);
        let recorded = fs::read_to_string(self.path(FIRST_START)).ok();
        let first = recorded.as_deref().and_then(|line| parse(line, &boot));
        match first.and_then(|first| now.checked_sub(first)) {
            Some(since) => Ok(since),
            // None of this boot, or not a record of ours.
            None => self.record_first_start(&boot, now).map(|()| Duration::ZERO),
        }
    }

    /// Time from the boot to the daemon's first start, if that was recorded in this boot.
    #[must_use]
    pub fn first_start(&self) -> Option<Duration> {
        let boot = self.boot_id().ok()?;
        parse(&fs::read_to_string(self.path(FIRST_START)).ok()?, &boot)
    }

    /// Makes now the time of the first start.
    ///
    /// # Errors
    /// As [`Self::since_first_start`].
    pub fn start_anew(&self) -> io::Result<()> {
        let boot = self.boot_id().map_err(io::Error::other)?;
        self.record_first_start(&boot, self.up()?)
    }

    fn record_first_start(&self, boot: &str, now: Duration) -> io::Result<()> {
        let path = self.path(FIRST_START);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        // Renamed, so that a daemon that is killed here leaves the whole line or none.
        let new = path.with_extension("new");
        fs::write(&new, format!("{boot} {}\n", now.as_secs_f64()))?;
        fs::rename(new, path)
    }

    /// Time since the boot, as the kernel tells it.
    ///
    /// # Errors
    /// When the kernel's uptime can't be read.
    pub fn up(&self) -> io::Result<Duration> {
        let text =
            fs::read_to_string(self.path(UPTIME)).or_else(|_| fs::read_to_string(Path::new(UPTIME)))?;
        let first = text.split_whitespace().next();
        first
            .and_then(seconds)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{UPTIME} says {text:?}")))
    }
}

fn parse(line: &str, boot: &str) -> Option<Duration> {
    seconds(line.trim_end().strip_prefix(boot)?.strip_prefix(' ')?)
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Machine {
        host: Host,
        _root: tempfile::TempDir,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            Self {
                host: Host::new(root.path()),
                _root: root,
            }
        }

        fn write(&self, path: &str, contents: &str) {
            let path = self.host.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }

        /// Asked in the boot `boot`, which is so many seconds old.
        fn since(&self, boot: &str, uptime: &str) -> f64 {
            self.write("/proc/sys/kernel/random/boot_id", boot);
            self.write(UPTIME, &format!("{uptime} 31.45\n"));
            self.host.since_first_start().unwrap().as_secs_f64()
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "halves are exact")]
    fn the_first_start_counts_until_the_reboot() {
        let machine = Machine::new();
        assert_eq!(machine.since("one", "20.50"), 0.0);
        assert_eq!(machine.since("one", "50.00"), 29.5);
        assert_eq!(machine.since("one", "620.50"), 600.0);
        assert_eq!(machine.host.first_start(), Some(Duration::from_secs_f64(20.5)));
        // Also where /run outlives it.
        assert_eq!(machine.since("two", "21.00"), 0.0);
        assert_eq!(machine.since("two", "22.00"), 1.0);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "halves are exact")]
    fn what_was_before_a_new_start_does_not_count() {
        let machine = Machine::new();
        assert_eq!(machine.since("one", "20.50"), 0.0);
        assert_eq!(machine.since("one", "50.00"), 29.5);
        machine.host.start_anew().unwrap();
        assert_eq!(machine.since("one", "60.00"), 10.0);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "nothing is exact")]
    fn a_record_that_makes_no_sense_counts_as_none() {
        for record in [
            "", "one", "one ", "one soon", "one -1", "one nan", "one 99", "onetwo 3",
        ] {
            let machine = Machine::new();
            machine.write(FIRST_START, record);
            assert_eq!(machine.since("one", "20.50"), 0.0, "{record}");
            assert_eq!(machine.since("one", "21.50"), 1.0, "{record}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_an_error() {
        let machine = Machine::new();
        machine.write(UPTIME, "soon\n");
        let error = machine.host.since_first_start().unwrap_err();
        assert_eq!(error.to_string(), "/proc/uptime says \"soon\\n\"");
    }
}
