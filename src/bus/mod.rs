//! D-Bus: what operators and reboot managers see and may ask for. Sees [`Command`]s and [`Status`] only.

mod status;

pub use status::{Command, Operation, Status};
