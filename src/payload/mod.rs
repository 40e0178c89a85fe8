//! What `update_payload` does with payload files, away from any node: nothing here touches a slot, the
//! daemon's state or the bus. The format itself is the business of [`payload_format`].

mod generate;
mod progress;

pub use self::generate::{GenerateError, Ingredients, generate};
pub use self::progress::Progress;
