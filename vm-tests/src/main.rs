//! Boots real machines with the update daemon, updates and breaks them, and looks at what comes up.
//!
//! `cargo run -p vm-tests -- list` names the stories, `-- run [NAME…]` plays them; see `docs/vm-tests.md`.
//!
//! ```text
//!  story ─▶ stage ─┬─▶ guest     releases, root partition: Debian's packages, our daemon
//!                  ├─▶ disk      a raw image with Flatcar's partitions; what cgpt and we read there
//!                  ├─▶ loader    picks the slot, spends the try
//!                  ├─▶ machine   one run of QEMU: console, shell, how it ended
//!                  └─▶ update_engine::serve    the server that the node asks
//! ```

mod command;
mod disk;
mod files;
mod guest;
mod loader;
mod machine;
mod stage;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};

use crate::guest::Workshop;
use crate::loader::{Loader, Model, SlotLoader};
use crate::stage::Stage;
use crate::story::{STORIES, Story};

#[derive(Parser)]
#[command(about = "Boots real machines with the update daemon in QEMU")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    Efi,
    Model,
}

#[derive(Subcommand)]
enum Task {
    /// Names the stories
    List,
    /// Plays stories, all of them if none is named
    Run {
        /// Names, as `list` prints them
        names: Vec<String>,
        /// Machines that run at the same time
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Who picks the slot: our EFI application under UEFI firmware, or a model of it in the runner
        #[arg(long, value_enum, default_value = "efi")]
        loader: Choice,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::List => {
            for story in &STORIES {
                println!("{:<18} {}", story.name, story.shows);
            }
            Ok(())
        }
        Task::Run { names, jobs, loader } => play(&names, jobs, loader),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(names: &[String], jobs: usize, loader: Choice) -> Result<()> {
    let stories = chosen(names)?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the crate has no workspace around it")?;
    let workshop = Workshop::open(repository)?;
    let loader: Box<dyn Loader> = match loader {
        Choice::Efi => Box::new(SlotLoader::build(repository)?),
        Choice::Model => Box::new(Model),
    };
    let (waiting, failed) = (Mutex::new(stories.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(story) = next else { return };
                    if !passes(story, &workshop, loader.as_ref()) {
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(story.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Story>> {
    if names.is_empty() {
        return Ok(STORIES.iter().collect());
    }
    let find = |name: &String| {
        STORIES
            .iter()
            .find(|story| story.name == name)
            .with_context(|| format!("there is no story {name}; see `list`"))
    };
    names.iter().map(find).collect()
}

/// Plays a story; keeps its logs and disk if it fails.
fn passes(story: &Story, workshop: &Workshop, loader: &dyn Loader) -> bool {
    let begun = Instant::now();
    let result = Stage::set(story.name, workshop, loader).and_then(|mut stage| (story.play)(&mut stage));
    let seconds = begun.elapsed().as_secs();
    let directory = workshop.scratch().join(story.name);
    match result {
        Ok(()) => {
            println!("{}: passed in {seconds} s", story.name);
            let _ = std::fs::remove_dir_all(directory);
            true
        }
        Err(error) => {
            println!(
                "{}: FAILED after {seconds} s: {error:#}\nlogs: {}",
                story.name,
                directory.display()
            );
            false
        }
    }
}
