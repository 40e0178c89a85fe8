//! The jobs of `update_payload` with payload files, away from any node: nothing here touches a
//! slot, the daemon's state or the bus. The format itself is the business of [`payload_format`].

mod apply;
mod check;
mod construction;
mod content;
mod file;
mod generate;
mod image_release;
mod inspect;
mod map;
mod offline;
mod output_file;
mod progress_bar;
mod verify;

pub use self::apply::{ApplicationError, Building, apply};
pub use self::check::{CheckError, CheckReport, NodeRefusal, check};
pub use self::content::{BuildError, ContentReport};
pub use self::file::{PayloadError, PayloadFile, PayloadMetadata};
pub use self::generate::{DeltaSource, GenerateError, GenerateOptions, generate};
pub use self::inspect::{ContentDescription, ImageDescription, Inspection, Sum, inspect};
pub use self::map::{MapError, PayloadMap, map};
pub use self::offline::{OfflineError, Signature, attach, digests};
pub use self::progress_bar::ProgressBar;
pub use self::verify::VerifyError;
pub use self::verify::{SignatureStatus, Trust, TrustError};
