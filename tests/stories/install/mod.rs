//! Installations: from the offer to the slot that boots next.

mod any_image;
mod bad_servers;
mod content;
mod delta_okay;
mod endurance;
mod extensions;
pub(crate) mod extra_partitions;
pub(crate) mod kept_bootable;
pub(crate) mod killed_deltas;
mod pcr_policy;
mod power_cut;
mod promises;
pub(crate) mod refusals;
mod resource_limits;
mod resume;
mod staging;
pub(crate) mod update;
pub(crate) mod v1;
pub(crate) mod v2;
mod wrong_image;
