//! CPU and I/O priority of a thread.

use std::io;

use super::ioctl::{self, IoClass, Scheduling};

/// What a thread gets of processor and disk while others want them, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// Its share, like everybody.
    #[default]
    Normal,
    /// Little: nice 19 among jobs that need not react, and the disk after all others of its class.
    Low,
    /// What nobody else wants. On a node that is never idle, that may be next to nothing.
    Idle,
}

impl Priority {
    /// Makes the calling thread, and those that it starts from now on, claim this. There is no way
    /// back up for a thread, so use it on one of its own.
    ///
    /// # Errors
    /// What the kernel says; the thread then claims what it did before, or something between.
    pub fn claim(self) -> io::Result<()> {
        let (scheduling, class) = match self {
            Self::Normal => return Ok(()),
            Self::Low => (Scheduling::Batch, IoClass::BestEffortLast),
            Self::Idle => (Scheduling::Idle, IoClass::Idle),
        };
        ioctl::schedule_this_thread(scheduling)?;
        ioctl::make_this_thread_nice()?;
        ioctl::set_io_class_of_this_thread(class)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Nice value and scheduling policy, fields 19 and 41 of `stat`, as the kernel tells them.
    fn claimed() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        (fields[16].parse().unwrap(), fields[38].parse().unwrap())
    }

    #[test]
    fn a_thread_and_those_it_starts_claim_less_and_nobody_else() {
        for (priority, expected) in [
            (Priority::Normal, (0, 0)),
            (Priority::Low, (19, 3)),
            (Priority::Idle, (19, 5)),
        ] {
            let thread = std::thread::spawn(move || {
                priority.claim().unwrap();
                (claimed(), std::thread::spawn(claimed).join().unwrap())
            });
            assert_eq!(thread.join().unwrap(), (expected, expected), "{priority:?}");
            assert_eq!(claimed(), (0, 0));
        }
    }
}
