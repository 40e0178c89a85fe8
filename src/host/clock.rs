//! Changes of the wall clock, and a clock that is never set.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Seconds since 1970: in the year 2255, and within what the kernel takes.
const NEVER: i64 = 9_000_000_000;

/// Time since the start of the machine, sleep included.
#[must_use]
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Watch for changes of the wall clock: a timer that never expires, which the kernel cancels when
/// the clock is set or the machine wakes.
#[derive(Debug)]
pub struct ClockWatch(AsyncFd<OwnedFd>);

impl ClockWatch {
    /// Watches from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the kernel refuses the timer.
    #[allow(
        deprecated,
        reason = "an `OwnedFd` never gives up its descriptor; the successor is unsafe"
    )]
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        arm(&timer)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Returns when the clock was set. Cancel-safe.
    pub async fn was_set(&self) {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return std::future::pending().await;
            };
            match rustix::io::read(self.0.get_ref(), &mut [0; 8]) {
                Err(Errno::CANCELED) => {
                    let _ = arm(self.0.get_ref());
                    return;
                }
                _ => ready.clear_ready(),
            }
        }
    }
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    let at = |tv_sec| Timespec { tv_sec, tv_nsec: 0 };
    let never = Itimerspec {
        it_interval: at(0),
        it_value: at(NEVER),
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &never)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_noticed_while_nobody_sets_the_clock() {
        let watch = ClockWatch::new().unwrap();
        let noticed = tokio::time::timeout(Duration::from_millis(20), watch.was_set()).await;
        assert!(noticed.is_err());
        assert!(since_boot() > Duration::ZERO);
    }
}
