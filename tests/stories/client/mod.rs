//! `update_engine_client`: flags and commands, as people type them.

pub(crate) mod cancel;
mod commands;
pub(crate) mod dry_run;
mod flags;
pub(crate) mod history;
