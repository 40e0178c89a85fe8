//! The targets, by what they read.

mod apply;
mod bsdiff;
mod btrfs;
mod bzip2;
mod config;
mod content;
mod content_bytes;
mod content_draft;
mod dbus;
mod disk;
mod draft;
mod extensions;
mod gpt;
mod loader;
mod lock_server;
mod manager_settings;
mod memory;
#[path = "../../../../payload-format/tests/payloads/message.rs"]
mod message;
#[path = "../../../../payload-format/tests/payloads/noise.rs"]
mod noise;
mod old_image;
mod omaha;
mod patch;
mod payload;
mod predecessor_draft;
mod records;
mod scratch;
mod semaphore;

#[cfg(test)]
pub(crate) use scratch::remove as remove_scratch;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    payload::TARGET,
    apply::TARGET,
    content::TARGET,
    old_image::TARGET,
    bsdiff::TARGET,
    bzip2::TARGET,
    gpt::TARGET,
    loader::TARGET,
    omaha::TARGET,
    config::TARGET,
    records::TARGET,
    semaphore::TARGET,
    lock_server::TARGET,
    manager_settings::TARGET,
    extensions::TARGET,
    dbus::TARGET,
];
