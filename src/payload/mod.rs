//! What `update_payload` does with payload files, away from any node: nothing here touches a slot, the
//! daemon's state or the bus. The format itself is the business of [`payload_format`].

mod apply;
mod check;
mod construction;
mod file;
mod generate;
mod inspect;
mod map;
mod offline;
mod output;
mod progress;
mod trust;
mod verify;

pub use self::apply::{ApplicationError, Building, apply};
pub use self::check::{CheckError, Checked, NodeRefusal, check};
pub use self::file::{Metadata, PayloadError, PayloadFile};
pub use self::generate::{Base, GenerateError, Ingredients, generate};
pub use self::inspect::{ImageDescription, Inspection, Sum, inspect};
pub use self::map::map;
pub use self::offline::{OfflineError, Signature, attach, digests};
pub use self::progress::Progress;
pub use self::trust::{Trust, TrustError, Verdict};
pub use self::verify::VerifyError;
