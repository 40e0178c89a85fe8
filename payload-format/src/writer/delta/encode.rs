//! From a task to operations and their data.

use std::io;

use super::encoder::{Encoded, Encoder};
use super::patch::Patcher;
use super::task::Task;
use crate::digest::Sha256Digest;
use crate::wire;

/// The operations of a task.
pub(super) fn encode(encoder: &Encoder<'_>, task: &Task) -> io::Result<Vec<Encoded>> {
    Ok(match task {
        Task::Zero(destination) => vec![Encoded::new(wire::ZERO, destination, Vec::new())],
        Task::Copy { source, destination } => {
            let content = destination.read(&encoder.new)?;
            let copy = Encoded::new(wire::SOURCE_COPY, destination, Vec::new());
            vec![copy.with_source(source, &Sha256Digest::of(&content))]
        }
        Task::Pack(destination) => {
            let content = destination.read(&encoder.new)?;
            vec![encoder.packed(destination, content)?]
        }
        Task::Patch { source, parts } => Patcher::read(encoder, source)?.encode(parts)?,
    })
}
