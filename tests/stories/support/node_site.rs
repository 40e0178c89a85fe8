//! Installations on a [`Node`] by the library.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use update_engine::disk::{SlotAttributes, SlotDisk, SlotName};
use update_engine::fetch::{FetchSettings, Fetcher};
use update_engine::host::Host;
use update_engine::install::{Downloaded, InstallError, Pace, PostinstMode, Site, Slots};
use update_engine::plan::InstallPlan;

use super::installing::{download, install};
use super::node::Node;

impl Node {
    /// A node that asks nobody for updates.
    pub fn with_two_good_slots() -> Self {
        Self::new("disabled")
    }

    /// What a restart resumes from.
    pub fn state(&self) -> PathBuf {
        self.path("/var/lib/update_engine/install")
    }

    pub fn slots(&self) -> SlotDisk {
        SlotDisk::open(self.disk.path(), SlotName::A).unwrap()
    }

    pub fn slot_attributes(&self, slot: SlotName) -> SlotAttributes {
        self.slots().attributes(slot).unwrap()
    }

    /// Changes one byte of a slot.
    pub fn damage(&self, slot: SlotName, offset: u64) {
        let other = SlotDisk::open(self.disk.path(), !slot).unwrap();
        let target = other.open_target(slot).unwrap();
        let mut byte = [0];
        target.read_at(&mut byte, offset).unwrap();
        target.write_at(&[!byte[0]], offset).unwrap();
    }

    pub fn site(&self, postinst: PostinstMode) -> Site {
        self.site_with(Arc::new(self.slots()), postinst)
    }

    /// With patience for nothing, so that every fault ends an attempt, and a checkpoint at every
    /// turn.
    pub fn site_with(&self, slots: Arc<dyn Slots>, postinst: PostinstMode) -> Site {
        Site {
            host: Host::new(self.path("/")),
            slots,
            fetcher: Fetcher::new(FetchSettings {
                resumes: 0,
                no_answer_retries: 0,
                ..FetchSettings::default()
            }),
            postinst,
            pace: Pace {
                bytes: 1 << 20,
                interval: Duration::ZERO,
                ..Pace::default()
            },
        }
    }

    /// Preflight and download.
    pub async fn download(&self, plan: InstallPlan) -> Result<Downloaded, InstallError> {
        download(plan, self.site(PostinstMode::Skip)).await
    }

    /// Everything up to the commit, without postinst.
    pub async fn install(&self, plan: InstallPlan) -> Result<(), InstallError> {
        install(plan, self.site(PostinstMode::Skip)).await
    }
}
