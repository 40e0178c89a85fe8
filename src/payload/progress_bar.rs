//! The progress bar of a long job at a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Redrawing more often shows nothing more.
const INTERVAL: Duration = Duration::from_millis(100);

const MIB: u64 = 1 << 20;

/// One line on standard error that is redrawn as the job goes on; silent where that isn't a
/// terminal.
#[derive(Debug)]
pub struct ProgressBar {
    what: &'static str,
    total: u64,
    start: Instant,
    drawn: Option<Instant>,
    is_terminal: bool,
}

impl ProgressBar {
    /// A job that goes over `total` bytes.
    #[must_use]
    pub fn new(what: &'static str, total: u64) -> Self {
        Self {
            what,
            total,
            start: Instant::now(),
            drawn: None,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// `done` bytes are done.
    pub fn show(&mut self, done: u64) {
        let now = Instant::now();
        if !self.is_terminal
            || self
                .drawn
                .is_some_and(|last| now - last < INTERVAL && done < self.total)
        {
            return;
        }
        self.drawn = Some(now);
        let line = line(self.what, done, self.total, now - self.start);
        // Nobody is worse off if the terminal is gone.
        let _ = write!(io::stderr(), "\r{line}\x1b[K");
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    let rate = u128::from(done) * 1000 / elapsed.as_millis().max(1) / u128::from(MIB);
    format!(
        "{what} {percent:3} %  {} of {} MiB  {rate} MiB/s",
        done / MIB,
        total.div_ceil(MIB)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line("reading", 256 * MIB, 1 << 30, second),
            "reading  25 %  256 of 1024 MiB  256 MiB/s"
        );
        assert_eq!(
            line("reading", 0, 0, Duration::ZERO),
            "reading   0 %  0 of 0 MiB  0 MiB/s"
        );
    }
}
