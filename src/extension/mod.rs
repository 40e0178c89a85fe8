//! System extensions: those of an update, which come as packages beside its payload, and those that
//! the node has, which the new image may not merge.
//!
//! Each of an update's is itself a payload, signed like the update's: what the offer says of it (name, size, hash)
//! only tells whether the right file came, and the signature whether it may be used.
//!
//! ```text
//!  Origin ── download ──▶ Package: size and hash as offered ── build ──▶ signature, image's hash ─▶ file, durable
//!  store:  .staged/NAME.raw …  ── place ──▶  VERSION/NAME.raw …       all of a version at once
//!  merged now ─▶ stays under the new image? ── judge, by systemd's rules ─▶ merged there or not, and why
//!                its image is signed? ── certificates of the new image and of /etc ─▶ taken, or not told
//! ```

mod certificate;
mod download;
mod image_signature;
mod in_force;
mod judge;
mod merged_names;
mod merged_release;
mod owners;
mod store;
mod verity_certificates;

pub use download::{
    DownloadedPackage, ExtensionError, PackageOrigin, download, download_from_any, require_room,
};
pub use image_signature::{ImageSignature, SignatureUnreadable};
pub use in_force::{
    MergedExtension, SameExtension, UnderAnotherImage, is_of_one_version, merged, path_in_image,
};
pub use judge::{ExtensionHost, NotMerged, judge};
pub use merged_names::{ExtensionClass, merged_names};
pub use store::{ExtensionStore, ExtensionStoreError, RunningSystem};
pub use verity_certificates::{
    CertificateDirectory, CertificateFile, NodeCertificates, SignatureNotTold, image_certificates,
};
