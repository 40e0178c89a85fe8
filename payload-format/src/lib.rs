//! The CrAU update payload format: reading, applying, verifying and writing.

mod apply;
mod block;
mod bsdiff;
mod digest;
mod header;
mod image;
mod in_place;
mod limits;
mod manifest;
mod operation;
mod reader;
mod signature;
mod wire;
pub mod writer;

pub use apply::{Applier, ApplyError, Fault, ReadBlocks, Streamed, WriteBlocks};
pub use block::{BlockRange, BlockSize, Extent};
pub use bsdiff::{PatchError, Stream};
pub use digest::Sha256Digest;
pub use header::{Header, HeaderError, MajorVersion};
pub use image::{Image, ImageInfo, ImageKind};
pub use limits::Limits;
pub use manifest::{Manifest, ManifestError, OperationError};
pub use operation::{Data, OpId, Operation, OperationKind, Replay, Run, Source};
pub use reader::{Checkpoint, Event, Finished, FormatError, Part, Reader};
pub use signature::{PublicKeys, SignatureError};
