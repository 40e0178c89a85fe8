//! A held slot, or a partition beside it: opened exclusively and read-only at block level, so that
//! what was read of it stays true.

use std::sync::Arc;

use super::{BlockTarget, Sealed};

/// A slot or an extra partition that nobody else can open exclusively, mount or begin to write,
/// until this is dropped. Whoever had it open for writing before can still write. Of an image, or of
/// a disk whose partitions the kernel doesn't know, nothing holds others off.
pub struct HeldSlot {
    // Closed before the read-only flag is taken back.
    target: Arc<dyn BlockTarget>,
    _seal: Option<Sealed>,
}

impl HeldSlot {
    pub(crate) fn new(target: Arc<dyn BlockTarget>, seal: Option<Sealed>) -> Self {
        Self { target, _seal: seal }
    }

    /// Its bytes; writing to them fails.
    #[must_use]
    pub fn target(&self) -> &Arc<dyn BlockTarget> {
        &self.target
    }
}

impl std::fmt::Debug for HeldSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldSlot").finish_non_exhaustive()
    }
}
