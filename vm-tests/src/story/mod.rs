//! Stories, the longest first, so that those that are played at the same time end together.

mod bad_release;
mod bad_version_keeps_lock;
mod changed_slot;
mod content_payload;
mod cut_download;
mod cut_power;
mod deadline;
mod full_boot;
mod half_dead_disk;
mod hangs;
mod judged;
mod managed_node;
mod merged_extensions;
mod panics;
mod reboot_in_window;
mod regressions;
mod staged;
mod tco;
mod two_versions;
mod unhealthy;
mod update_and_back;

use anyhow::Result;

use crate::stage::Stage;

/// Definition of a story.
pub(crate) struct Story {
    /// Name for `run`.
    pub(crate) name: &'static str,
    /// What it proves, a sentence.
    pub(crate) shows: &'static str,
    /// Plays it.
    pub(crate) play: fn(&mut Stage) -> Result<()>,
    /// Whether it is played where none is named: those that show a mechanism that no other one
    /// shows.
    pub(crate) usual: bool,
    /// Its control run.
    pub(crate) control: Control,
}

/// Control run, which proves that a story can fail.
pub(crate) struct Control {
    /// What is turned off, a sentence.
    pub(crate) off: &'static str,
    /// Words of the story's failure then.
    pub(crate) fails: &'static str,
}

/// All stories.
pub(crate) const STORIES: [Story; 42] = [
    two_versions::STORY,
    deadline::DAEMON_CANT_START,
    deadline::KEPT,
    deadline::INITRD,
    deadline::SYSINIT,
    deadline::CONFEXT,
    deadline::SYSTEMD_FROZEN,
    deadline::INITRD_UNIT,
    deadline::SWITCH,
    deadline::KEEPER_STOPPED,
    deadline::KERNEL,
    deadline::UNIT,
    deadline::DAEMON_STOPPED,
    tco::BEFORE_DRIVER,
    tco::AFTER_DRIVER,
    tco::KEPT,
    panics::STORY,
    staged::AUTOMOUNT,
    staged::DOWN,
    staged::CUT,
    staged::ORDER,
    staged::POSTINST,
    cut_power::STORY,
    merged_extensions::STORY,
    half_dead_disk::STORY,
    hangs::STORY,
    bad_version_keeps_lock::STORY,
    unhealthy::STORY,
    regressions::EXTENSION_LOST,
    regressions::UNIT_LOST,
    regressions::UNIT_FLAPS,
    update_and_back::STORY,
    changed_slot::STORY,
    content_payload::STORY,
    reboot_in_window::STORY,
    staged::REBOOT,
    staged::WITHDRAWN,
    full_boot::STORY,
    cut_download::STORY,
    judged::WRONG_BOARD,
    judged::WRONG_KERNEL,
    judged::EXTENSION_JUDGED,
];
