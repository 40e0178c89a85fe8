//! Limits of the load that an installation puts on the node: `INSTALL_…` and `DOWNLOAD_LIMIT`.

use std::num::NonZeroU64;

use super::sources::ConfigFiles;
use super::table;
use crate::disk::Priority;
use crate::host::{Percent, PressureLimits};

/// How hard an installation may lean on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// `INSTALL_PRIORITY`: of updates that the timer found; low by default.
    pub scheduled: Priority,
    /// `INSTALL_PRIORITY_ON_DEMAND`: of updates that an operator asked for; normal by default.
    pub on_demand: Priority,
    /// `INSTALL_PRESSURE_…`: from which pressure on an installation pauses; never by default.
    pub pressure: PressureLimits,
    /// `DOWNLOAD_LIMIT`: bytes per second; no limit by default.
    pub download: Option<NonZeroU64>,
    /// `DOWNLOAD_FLOOR`: bytes per second.
    pub download_floor: Option<NonZeroU64>,
}

impl LoadSettings {
    pub(super) fn read(sources: &ConfigFiles) -> Self {
        let priority = |setting| match sources.find(setting).value {
            "idle" => Priority::Idle,
            "low" => Priority::Low,
            _ => Priority::Normal,
        };
        let percent = |setting| {
            let number = sources.number(setting);
            u8::try_from(number).ok().and_then(Percent::new)
        };
        Self {
            scheduled: priority(&table::INSTALL_PRIORITY),
            on_demand: priority(&table::INSTALL_PRIORITY_ON_DEMAND),
            pressure: PressureLimits {
                cpu: percent(&table::INSTALL_PRESSURE_CPU),
                io: percent(&table::INSTALL_PRESSURE_IO),
                memory: percent(&table::INSTALL_PRESSURE_MEMORY),
            },
            download: NonZeroU64::new(sources.number(&table::DOWNLOAD_LIMIT)),
            download_floor: NonZeroU64::new(sources.number(&table::DOWNLOAD_FLOOR)),
        }
    }
}
