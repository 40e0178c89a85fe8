//! The machine around the daemon: units, unreadable files, the clock.

mod clock;
mod units;
mod unreadable_files;
