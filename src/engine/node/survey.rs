//! What the node knows beside the engine's state.

use std::fmt::Write as _;

use super::{Node, slots};
use crate::bus::{RollbackReport, SlotReport};
use crate::config::Server;
use crate::disk::SlotRow;
use crate::engine::{Survey, Updates, chain};
use crate::policy::{History, Rollback};

impl Node {
    /// Blocks on the disk for a moment; writes nothing.
    pub(super) fn look_around(&self) -> Survey {
        let config = self.config();
        let history = self.history();
        let rollback = history.last_rollback();
        Survey {
            slots: self.slot_reports(&history, &config.version),
            updates: match config.server {
                Server::Disabled => Updates::Disabled,
                Server::At(_) => Updates::Enabled,
            },
            waiting_version: history.waiting().map(|payload| payload.version.clone()),
            rollback: rollback.map(report),
            rollback_output: rollback.map(|rollback| rollback.said.clone()).unwrap_or_default(),
            running_version: config.version,
        }
    }

    fn slot_reports(&self, history: &History, running_version: &str) -> Vec<SlotReport> {
        let look = slots::open(&self.settings).and_then(|disk| Ok((disk.running(), disk.table()?)));
        let (running, rows) = match look {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!("the slots can't be looked at: {}", chain(&error));
                return Vec::new();
            }
        };
        let version = |row: &SlotRow| {
            let own = (row.slot == running).then_some(running_version);
            let version = own.or_else(|| history.version_in(&row.partuuid));
            version.filter(|version| !version.is_empty()).map(str::to_owned)
        };
        rows.iter()
            .map(|row| SlotReport {
                name: row.slot.to_string(),
                partuuid: row.partuuid.clone(),
                version: version(row),
                priority: row.attributes.priority().get().into(),
                tries: row.attributes.tries().get().into(),
                successful: row.attributes.is_successful(),
                running: row.slot == running,
            })
            .collect()
    }
}

fn report(rollback: &Rollback) -> RollbackReport {
    let hex = |sha256: [u8; 32]| {
        sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a `String` never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    RollbackReport {
        version: rollback.payload.version.clone(),
        payload_sha256: rollback.payload.sha256.map(hex),
        noticed: rollback.noticed.0,
        cause: rollback.cause.clone(),
    }
}
