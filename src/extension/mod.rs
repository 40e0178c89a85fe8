//! System extensions of an update, which come as packages beside its payload.
//!
//! Each is itself a payload, signed like the update's: what the offer says of it (name, size, hash)
//! only tells whether the right file came, and the signature whether it may be used.
//!
//! ```text
//!  Origin ── download ──▶ Package: size and hash as offered ── build ──▶ signature, image's hash ─▶ file, durable
//!  store:  .staged/NAME.raw …  ── place ──▶  VERSION/NAME.raw …       all of a version at once
//! ```

mod download;
mod owners;
mod store;

pub use download::{
    DownloadedPackage, ExtensionError, PackageOrigin, download, download_from_any, require_room,
};
pub use store::{ExtensionStore, ExtensionStoreError, RunningSystem};
