//! Integration tests: one module per story, told at the boundary that users see.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod air_gap;
mod any_image;
mod bad_servers;
mod bus;
mod checks;
mod client;
mod endurance;
mod engine1;
mod fetch;
mod fetch_environment;
mod health;
mod image_postinst;
mod install;
mod install_v2;
mod kills;
mod kola;
mod mounting;
mod nebraska;
mod omaha;
mod payload_peers;
mod payload_peers_v2;
mod payload_tool;
mod pcr_policy;
mod postinst;
mod power_cut;
mod promises;
mod quiet;
mod reboot_managers;
mod references;
mod refusals;
mod replacing;
mod resume;
mod rollback;
mod serve;
mod signing_elsewhere;
mod slot_device;
mod slot_disk;
mod stub;
#[path = "../support/mod.rs"]
mod support;
mod surroundings;
mod trials;
mod units;
mod update;
