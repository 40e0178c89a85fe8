//! The identity that update servers are told, from files and machine.

use crate::omaha::{Identity, Machine};

use super::Config;

impl Config {
    /// What requests say: the files' part and the machine's.
    #[must_use]
    pub fn identity(&self, machine: &Machine) -> Identity {
        Identity {
            app_id: self.app_id.clone(),
            version: self.version.clone(),
            track: self.group.clone(),
            boot_id: format!("{{{}}}", machine.boot_id),
            oem: self.oem_id.clone(),
            oem_version: self.oem_version.clone(),
            aleph_version: machine.aleph_version.clone(),
            machine_id: machine.machine_id.clone(),
            machine_alias: self.machine_alias.clone(),
            board: self.board.clone(),
            machine: machine.machine.clone(),
        }
    }
}
