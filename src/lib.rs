//! The A/B update daemon for image-based Linux, as a library under three binaries.
//!
//! Index by topic; arrows point from the top of this list to its end, never back:
//!
//! | topic | module |
//! |---|---|
//! | the one task that owns the state | [`engine`] |
//! | what operators type | [`client`] |
//! | the D-Bus interfaces that operators and reboot managers use | [`bus`] |
//! | what a new image does for its own installation | [`postinst`] |
//! | when to check, whether to take an offer | [`policy`] |
//! | asking the server | [`omaha`] |
//! | what will be written where | [`plan`] |
//! | download, decode, write, verify, commit | [`install`] |
//! | what comes beside the image: system extensions | [`extension`] |
//! | bytes from the network | [`fetch`] |
//! | HTTP to servers: proxies, redirects, credentials, what may be shown | [`net`] |
//! | the disk, its slots and who boots next | [`disk`] |
//! | whether a freshly booted slot is healthy | [`health`] |
//! | durable state | [`store`] |
//! | configuration files | [`config`] |
//! | who watches the daemon: its service manager, and Prometheus | [`monitoring`] |
//! | the machine around us | [`host`] |
//! | requests for a reboot, and the reboot out of a slot that failed | [`reboot`] |
//! | systemd: units, transient units, reboots, notifications | [`systemd`] |
//! | what the journal is told | [`journal`] |
//! | what the engine says about itself, and what it can be told | [`status`] |
//! | texts of others, made harmless to show | [`printable()`] |
//! | payload files on a build machine | [`payload`] |
//! | an update server, for tests and sites without a network | [`serve`] |
//! | command lines | [`flags`] |
//! | sizes and lengths of time, as people read them | [`amounts`] |

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
pub mod serve;
pub mod status;
pub mod store;
pub mod systemd;

pub use printable::printable;
