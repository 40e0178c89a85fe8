//! The removal of system extensions that belong to no slot any more.

use super::machine::Machine;
use crate::disk::SlotName;
use crate::extension::{ExtensionStore, ExtensionStoreError, RunningSystem};
use crate::journal::chain;

/// Removes what an attempt left half done that a cut has ended.
pub(super) fn clear_extensions(machine: &Machine) {
    change_store(machine, |store, _| store.clear());
}

/// Removes all but those of `running`, since the other slot does not boot.
pub(super) fn drop_other_extensions(machine: &Machine, running: SlotName) {
    change_store(machine, |store, version| {
        let slot = running.to_string();
        let running = RunningSystem { slot: &slot, version };
        store.prune(None, running)
    });
}

fn change_store(
    machine: &Machine,
    change: impl FnOnce(&ExtensionStore, &str) -> Result<(), ExtensionStoreError>,
) {
    let config = match machine.config() {
        Ok(config) => config,
        Err(error) => {
            tracing::warn!("extensions of no slot may be left: {}", chain(&error));
            return;
        }
    };
    if config.extensions.wanted.is_empty() {
        return;
    }
    let directory = machine.host().path(&config.extensions.directory);
    if let Err(error) = change(&ExtensionStore::new(directory), &config.version) {
        tracing::warn!("extensions of no slot may be left: {}", chain(&error));
    }
}
