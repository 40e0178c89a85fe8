//! The stories, in the order in which they are told: the longest first, so that two at a time end together.

mod bad_release;
mod cut_download;
mod cut_power;
mod full_boot;
mod half_dead_disk;
mod hangs;
mod merged_extensions;
mod panics;
mod two_versions;
mod unhealthy;
mod update_and_back;

use anyhow::Result;

use crate::stage::Stage;

/// A story: something that happens to a node.
pub(crate) struct Story {
    /// What `run` calls it.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) shows: &'static str,
    /// Plays it.
    pub(crate) play: fn(&mut Stage) -> Result<()>,
    /// Whether it is played where none is named: those that show a mechanism that no other one shows.
    pub(crate) usual: bool,
    /// How it fails once what it shows is off.
    pub(crate) control: Control,
}

/// What proves that a story can fail.
pub(crate) struct Control {
    /// What is off.
    pub(crate) off: &'static str,
    /// What the story's failure says then.
    pub(crate) fails: &'static str,
}

/// All of them.
pub(crate) const STORIES: [Story; 10] = [
    two_versions::STORY,
    panics::STORY,
    cut_power::STORY,
    merged_extensions::STORY,
    half_dead_disk::STORY,
    hangs::STORY,
    unhealthy::STORY,
    update_and_back::STORY,
    full_boot::STORY,
    cut_download::STORY,
];
