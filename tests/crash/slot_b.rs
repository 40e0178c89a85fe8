//! What slot B holds: its image, and what goes with it beside the slot.

use crate::image::place;
use crate::machine::State;
use crate::node::{KERNEL_B, OEM_B};

/// All that has to be there for the slot to boot into one system.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) image: Vec<u8>,
    pub(crate) kernel: Vec<u8>,
    /// The extra partition.
    pub(crate) oem: Vec<u8>,
}

impl Held {
    /// Whether that is what the slot holds.
    pub(crate) fn is_in(&self, state: &State) -> bool {
        let starts = |path, with: &[u8]| state.files.get(path).is_some_and(|file| file.starts_with(with));
        state.disk[place(4)].starts_with(&self.image)
            && state.files.get(KERNEL_B) == Some(&self.kernel)
            && starts(OEM_B, &self.oem)
    }
}
