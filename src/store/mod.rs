//! Durable state.
//!
//! | what | where | form |
//! |---|---|---|
//! | [`Prefs`] | `/var/lib/update_engine/prefs/` | one plain text file per key, as the original engine keeps them: it may run again after a rollback, and postinst reads two of them |
//! | [`record`] | wherever the caller says | our own state: atomic, checksummed, versioned |
//!
//! A record may be another version's: `tolerant` reads as much of it as it can. Both
//! are written by [`atomic`]: a reader sees the old bytes or the new ones, whatever happens in
//! between.

pub mod atomic;
mod prefs;
pub mod record;
pub(crate) mod tolerant;

pub use prefs::{Key, LastAnswer, PREFS_DIR, Prefs, PrefsError};
