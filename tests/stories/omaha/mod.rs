//! Checks, events and grants, by update servers.

mod answers;
mod checks;
mod grants;
pub(crate) mod nebraska;
mod servers;
mod stub;
