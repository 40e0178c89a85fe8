//! What the kernel tells of a process.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::Outcome;

/// Ticks of `/proc/PID/stat` in a second, on every Linux of today.
const TICKS_PER_SECOND: u64 = 100;

/// A process by its number; 0 is this one, with all children that have ended.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    fn path(self, name: &str) -> PathBuf {
        let directory = if self.0 == 0 {
            "self".to_owned()
        } else {
            self.0.to_string()
        };
        PathBuf::from(format!("/proc/{directory}/{name}"))
    }

    /// Processor time of all its threads.
    pub fn cpu(self) -> Outcome<Duration> {
        let stat = fs::read_to_string(self.path("stat"))?;
        // The name before may hold blanks and parentheses.
        let (_, rest) = stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?;
        let ticks: u64 = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<_, _>>()?;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Bytes that it had written to storage.
    pub fn written(self) -> Outcome<u64> {
        let io = fs::read_to_string(self.path("io"))?;
        number(&io, "write_bytes:")
    }

    /// Largest resident size since [`Self::forget_peak`], in KiB.
    pub fn peak(self) -> Outcome<u64> {
        number(&fs::read_to_string(self.path("status"))?, "VmHWM:")
    }

    /// Resident size, in KiB.
    pub fn resident(self) -> Outcome<u64> {
        number(&fs::read_to_string(self.path("status"))?, "VmRSS:")
    }

    /// Lets [`Self::peak`] begin anew.
    pub fn forget_peak(self) -> Outcome {
        Ok(fs::write(self.path("clear_refs"), "5")?)
    }

    /// How often its threads have gone to sleep.
    pub fn sleeps(self) -> Outcome<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(self.path("task"))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            sum += number(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(sum)
    }
}

/// The number behind `name`, at the beginning of a line.
fn number(text: &str, name: &str) -> Outcome<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.ok_or_else(|| format!("no {name}"))?.parse()?)
}
