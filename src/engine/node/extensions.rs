//! Extensions that belong to no slot any more.

use super::Node;
use crate::disk::SlotName;
use crate::extension::{ExtensionStore, ExtensionStoreError, RunningSystem};
use crate::journal::chain;

impl Node {
    /// What an attempt left half done that a cut has ended. Blocks.
    pub(super) fn clear_extensions(&self) {
        self.tidy_extensions(|store, _| store.clear());
    }

    /// All but those of `running`, since the other slot does not boot. Blocks.
    pub(super) fn drop_other_extensions(&self, running: SlotName) {
        self.tidy_extensions(|store, version| {
            let slot = running.to_string();
            let running = RunningSystem { slot: &slot, version };
            store.prune(None, running)
        });
    }

    fn tidy_extensions(&self, change: impl FnOnce(&ExtensionStore, &str) -> Result<(), ExtensionStoreError>) {
        let config = match self.config() {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!("extensions of no slot may be left: {}", chain(&error));
                return;
            }
        };
        if config.extensions.wanted.is_empty() {
            return;
        }
        let directory = self.host().path(&config.extensions.directory);
        if let Err(error) = change(&ExtensionStore::new(directory), &config.version) {
            tracing::warn!("extensions of no slot may be left: {}", chain(&error));
        }
    }
}
