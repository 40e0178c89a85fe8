//! Output of the daemon: journal, status line, metrics, and what they must not show.

mod journal;
pub(crate) mod metrics;
mod printable_text;
mod secrets;
