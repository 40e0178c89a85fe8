//! All programs and the library as one crate, without any test: rustc then reports as dead code
//! what only tests use.
//!
//! In a library every `pub` item counts as used, since rustc knows no other crates. Here the
//! modules are private, and the programs are modules beside them, so that its own analysis counts:
//! functions, methods, fields, variants, constants. A search for names in the sources would be
//! cheaper and miss whatever shares its name with something else.
//!
//! Nothing runs. `cargo clippy --all-targets` checks it, as `.ci/run` and a change's own checks do.
//! A new module of the library that is missing below is an error of the modules that use it.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    reason = "the library's own checks see to these"
)]
#![allow(
    unused_imports,
    reason = "types of public signatures are re-exported for their documentation"
)]

extern crate self as update_engine;

#[path = "../../src/amounts.rs"]
mod amounts;
#[path = "../../src/bus/mod.rs"]
mod bus;
#[path = "../../src/client/mod.rs"]
mod client;
#[path = "../../src/config/mod.rs"]
mod config;
#[path = "../../src/disk/mod.rs"]
mod disk;
#[path = "../../src/engine/mod.rs"]
mod engine;
#[path = "../../src/extension/mod.rs"]
mod extension;
#[path = "../../src/fetch/mod.rs"]
mod fetch;
#[path = "../../src/flags/mod.rs"]
mod flags;
#[path = "../../src/health/mod.rs"]
mod health;
#[path = "../../src/host/mod.rs"]
mod host;
#[path = "../../src/image/mod.rs"]
mod image;
#[path = "../../src/install/mod.rs"]
mod install;
#[path = "../../src/journal/mod.rs"]
mod journal;
#[path = "../../src/monitoring/mod.rs"]
mod monitoring;
#[path = "../../src/net/mod.rs"]
mod net;
#[path = "../../src/omaha/mod.rs"]
mod omaha;
#[path = "../../src/payload/mod.rs"]
mod payload;
#[path = "../../src/plan.rs"]
mod plan;
#[path = "../../src/policy/mod.rs"]
mod policy;
#[path = "../../src/postinst/mod.rs"]
mod postinst;
#[path = "../../src/printable.rs"]
mod printable;
#[path = "../../src/reboot/mod.rs"]
mod reboot;
#[path = "../../src/reboot_lock/mod.rs"]
mod reboot_lock;
#[path = "../../src/reboot_manager/mod.rs"]
mod reboot_manager;
#[path = "../../src/serve/mod.rs"]
mod serve;
#[path = "../../src/status/mod.rs"]
mod status;
#[path = "../../src/store/mod.rs"]
mod store;
#[path = "../../src/systemd/mod.rs"]
mod systemd;
#[path = "../../src/trial_deadline/mod.rs"]
mod trial_deadline;

#[path = "../../src/bin/update_engine_client.rs"]
mod update_engine_client;
#[path = "../../src/bin/update_engine/main.rs"]
mod update_engine_daemon;
#[path = "../../src/bin/update_payload/main.rs"]
mod update_payload;
#[path = "../../src/bin/update_reboot_manager/main.rs"]
mod update_reboot_manager;

use printable::printable;

/// The programs: whatever they use is alive.
#[allow(dead_code, reason = "where it is allowed, rustc begins to count")]
fn programs() {
    let _ = [
        update_engine_daemon::main,
        update_engine_client::main,
        update_payload::main,
        update_reboot_manager::main,
    ];
}

/// The reference tables of the documents, which a test compares and writes.
#[allow(dead_code, reason = "where it is allowed, rustc begins to count")]
fn documents() {
    let _ = [config::reference, journal::reference, monitoring::reference];
    let _ = [omaha::reference, omaha::refusals];
    let _ = [reboot_lock::manager_reference, reboot_manager::metrics_reference];
}

/// What the update server tells those who watch it: stories, machines, the demonstration.
#[allow(dead_code, reason = "where it is allowed, rustc begins to count")]
fn observers(server: &serve::Server) {
    server.replace(None);
    let journal = server.journal();
    let _ = (journal.records(), journal.downloads(), journal.events());
    let _ = journal.exchanges().iter().any(serve::Exchange::is_check);
    let _ = journal.wait_for(|_| true);
    journal.clear();
}

/// Exceptions, each with its reason.
#[allow(dead_code, reason = "where it is allowed, rustc begins to count")]
fn exceptions(disk: disk::SlotDisk) {
    // A test of the disk's lock would wait ten seconds else.
    let _ = disk.with_patience(std::time::Duration::ZERO);
    // A preference of the original's that nothing here reads.
    let _ = store::Key::UpdateCheckResponseHash;
}

fn main() {}
