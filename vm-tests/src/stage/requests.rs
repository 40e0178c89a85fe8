//! What the nodes of a story have asked and told its server.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use update_engine::serve::NodeEvent;

use super::Stage;
use crate::guest::Release;
use crate::machine::Machine;

impl Stage<'_> {
    /// Checks that the release was made of its content payload, and of fewer bytes than half of the
    /// payload.
    pub(crate) fn expect_content(&self, release: &Release) -> Result<()> {
        let downloads = self.server.journal().downloads();
        let of_content = downloads
            .iter()
            .filter(|download| download.name == "update.content");
        ensure!(
            of_content.count() == downloads.len() && !downloads.is_empty(),
            "the payload was fetched: {downloads:?}"
        );
        let fetched: u64 = downloads.iter().map(|download| download.len).sum();
        let payload = fs::metadata(&release.payload)?.len();
        ensure!(
            fetched * 2 < payload,
            "{fetched} bytes were fetched, the payload has {payload}"
        );
        self.say(format_args!(
            "{fetched} bytes were fetched in {} ranges, the payload has {payload}",
            downloads.len()
        ));
        Ok(())
    }

    /// Checks that the node takes deltas: its slot is read through dm-verity. It was filled by no daemon.
    pub(crate) fn expect_deltas_welcome(&self) -> Result<()> {
        let exchanges = self.server.journal().exchanges();
        let check = exchanges.iter().find(|exchange| exchange.is_check());
        let check = check.context("the node has asked for no update")?;
        ensure!(
            check.body.contains("delta_okay=\"true\""),
            "the node takes no deltas: it doesn't see what guards its slot: {}",
            check.body
        );
        Ok(())
    }

    /// Checks that the last download did not begin with the first byte.
    pub(crate) fn expect_resumed(&self) -> Result<()> {
        let downloads = self.server.journal().downloads();
        let last = downloads.last().context("nothing was downloaded")?;
        ensure!(last.first > 0, "the download began anew: {downloads:?}");
        self.say(format_args!("the download went on at byte {}", last.first));
        Ok(())
    }

    /// Checks that a node has reported a rollback: event 3, result 0, code 44; flags above the low
    /// bits.
    pub(crate) fn expect_rollback_report(&self) -> Result<()> {
        let events = self.server.journal().events();
        let told = |event: &NodeEvent| {
            (event.kind, event.result) == (3, 0) && event.code.is_some_and(|code| code & 0xffff == 44)
        };
        ensure!(events.iter().any(told), "no rollback was reported: {events:?}");
        self.say("the server was told of the rollback");
        Ok(())
    }

    /// Checks that the node was offered a release that it came back from, and left it alone: event
    /// 3, result 9, code 35, and nothing was downloaded since.
    pub(crate) fn expect_refusal(&self, machine: &mut Machine) -> Result<()> {
        let events = self.server.journal().events();
        let refused = |event: &NodeEvent| {
            (event.kind, event.result) == (3, 9) && event.code.is_some_and(|code| code & 0xffff == 35)
        };
        ensure!(events.iter().any(refused), "nothing was refused: {events:?}");
        let status = machine.sh("update_engine_client -status 2>/dev/null")?;
        ensure!(
            status.contains("CURRENT_OP=UPDATE_STATUS_IDLE"),
            "the node takes the release again:\n{status}"
        );
        let downloads = self.server.journal().downloads().len();
        // Once for each time that the node came back.
        let told = |event: &&NodeEvent| event.code.is_some_and(|code| code & 0xffff == 44);
        let rollbacks = events.iter().filter(told).count().max(1);
        ensure!(
            (1..=rollbacks).contains(&downloads),
            "the release was downloaded {downloads} times"
        );
        self.say("the node does not install it again by itself");
        Ok(())
    }
}
