//! The stories, in the order in which they are told: the longest first, so that two at a time end together.

mod bad_release;
mod cut_download;
mod cut_power;
mod full_boot;
mod half_dead_disk;
mod hangs;
mod panics;
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
}

/// All of them.
pub(crate) const STORIES: [Story; 8] = [
    panics::STORY,
    cut_power::STORY,
    half_dead_disk::STORY,
    hangs::STORY,
    unhealthy::STORY,
    update_and_back::STORY,
    full_boot::STORY,
    cut_download::STORY,
];
