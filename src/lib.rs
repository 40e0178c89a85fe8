//! The A/B update daemon for image-based Linux, as a library under three binaries.
//!
//! Index by topic; arrows point from the top of this list to its end, never back:
//!
//! | topic | module |
//! |---|---|
//! | the engine: one task that owns the state | [`engine`] |
//! | the reboot manager: turns, windows, the lock until the slot is good | [`reboot_manager`] |
//! | the lock among nodes that reboot | [`reboot_lock`] |
//! | the actions of `update_engine_client` | [`client`] |
//! | the D-Bus interfaces of operators and reboot managers | [`bus`] |
//! | the postinst of a new image, as a program | [`postinst`] |
//! | pure decisions: when to check, whether to take an offer | [`policy`] |
//! | the Omaha protocol | [`omaha`] |
//! | the plan of an installation | [`plan`] |
//! | installation: download, decode, write, verify, commit | [`install`] |
//! | the image in a slot, judged before it boots | [`image`] |
//! | system extensions beside the image | [`extension`] |
//! | downloads over several connections | [`fetch`] |
//! | HTTP: proxies, redirects, credentials, redaction of URLs | [`net`] |
//! | the disk, its slots and their boot attributes | [`disk`] |
//! | the health of a slot on trial | [`health`] |
//! | the end of a hang of a slot on trial, without the daemon | [`trial_deadline`] |
//! | durable state: preferences and records | [`store`] |
//! | configuration files | [`config`] |
//! | status line, watchdog and metrics | [`monitoring`] |
//! | the machine: files, identity, mounts, subprocesses | [`host`] |
//! | requests for a reboot, and the reboot out of a slot that failed | [`reboot`] |
//! | systemd: units, transient units, reboots, notifications | [`systemd`] |
//! | journal entries, their fields and identifiers | [`journal`] |
//! | the published status, and the commands to the engine | [`status`] |
//! | control characters in foreign text, made harmless | [`printable()`] |
//! | payload files on a build machine | [`payload`] |
//! | an update server, for tests and sites without a network | [`serve`] |
//! | command lines in gflags' dialect | [`flags`] |
//! | sizes, durations and times as text | [`amounts`] |

pub mod amounts;
pub mod bus;
pub mod client;
pub mod config;
pub mod disk;
pub mod engine;
pub mod extension;
pub mod fetch;
pub mod flags;
pub mod health;
pub mod host;
pub mod image;
pub mod install;
pub mod journal;
pub mod monitoring;
pub mod net;
pub mod omaha;
pub mod payload;
pub mod plan;
pub mod policy;
pub mod postinst;
mod printable;
pub mod reboot;
pub mod reboot_lock;
pub mod reboot_manager;
pub mod serve;
pub mod status;
pub mod store;
pub mod systemd;
pub mod trial_deadline;

pub use printable::printable;
