//! Boots real machines with the update daemon, updates and breaks them, and looks at what comes up.
//!
//! `cargo run -p vm-tests -- list` names the stories, `-- run [NAME…]` plays them, `-- control [NAME…]` shows that they can
//! fail; see `docs/vm-tests.md`.
//!
//! ```text
//!  story ─▶ stage ─┬─▶ guest     releases, root partition: Debian's packages, our daemon
//!                  ├─▶ disk      a raw image with Flatcar's partitions; what cgpt and we read there
//!                  ├─▶ loader    picks the slot, spends the try
//!                  ├─▶ machine   one run of QEMU: console, shell, how it ended
//!                  └─▶ update_engine::serve    the server that the node asks
//! ```

mod architecture;
mod command;
mod denials;
mod disk;
mod files;
mod guest;
mod loader;
mod machine;
mod merged;
mod stage;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::architecture::Architecture;
use crate::guest::{Debian, Workshop};
use crate::loader::{Loader, Model, SlotLoader};
use crate::stage::Stage;
use crate::story::{Control, STORIES, Story};

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
    /// Plays stories, one per mechanism if none is named
    Run {
        #[command(flatten)]
        wanted: Wanted,
        /// Every story, not one per mechanism
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// Plays stories, all if none is named, each with what it shows switched off: passes where the story fails for that
    Control {
        #[command(flatten)]
        wanted: Wanted,
    },
}

#[derive(Args)]
struct Wanted {
    /// Names, as `list` prints them
    names: Vec<String>,
    /// Machines that run at the same time: one more than a small host has cores, since some wait for minutes
    #[arg(long, default_value_t = 3)]
    jobs: usize,
    /// How often each story is played
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// How often a `deadline-` or `tco-` story boots its new release, once that is installed
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Who picks the slot: our EFI application under UEFI firmware, or a model of it in the runner
    #[arg(long, value_enum, default_value = "efi")]
    loader: Choice,
    /// Processor of the machines; another one than the host's is emulated
    #[arg(long = "arch", value_enum, default_value = "amd64")]
    architecture: Architecture,
    /// The system of the machines
    #[arg(long, value_enum, default_value = "debian-13")]
    guest: Debian,
}

/// How much of a failed story's console is printed.
const LAST_LINES: usize = 30;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::List => {
            for story in &STORIES {
                println!("{:<18} {}", story.name, story.shows);
                println!("{:<18} control: off: {}", "", story.control.off);
            }
            Ok(())
        }
        Task::Run { wanted, all } => {
            chosen(&wanted.names, all).and_then(|stories| play(&stories, &wanted, false))
        }
        Task::Control { wanted } => {
            chosen(&wanted.names, true).and_then(|stories| play(&stories, &wanted, true))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn play(stories: &[&Story], wanted: &Wanted, control: bool) -> Result<()> {
    let begun = Instant::now();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the crate has no workspace around it")?;
    let workshop = Workshop::open(repository, wanted.architecture, wanted.guest)?;
    let loader: Box<dyn Loader> = match wanted.loader {
        Choice::Efi => Box::new(SlotLoader::build(repository, wanted.architecture)?),
        Choice::Model => Box::new(Model::RULE),
    };
    let performances: Vec<_> = (1..=wanted.times)
        .flat_map(|turn| {
            stories.iter().map(move |story| Performance {
                story,
                turn,
                rounds: wanted.rounds,
                control,
            })
        })
        .collect();
    let (waiting, played) = (Mutex::new(performances.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..wanted.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(performance) = next else { return };
                    let outcome = performance.play(&workshop, loader.as_ref());
                    let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
                    played.push((performance.story.name, outcome));
                }
            });
        }
    });
    let played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(stories, &played, begun.elapsed())
}

/// A story that is played, for the nth time.
struct Performance<'a> {
    story: &'a Story,
    turn: u32,
    rounds: u32,
    control: bool,
}

impl Performance<'_> {
    /// Plays it; keeps its logs and disk if it fails. Gives how long it took if it passed, else why it failed.
    fn play(&self, workshop: &Workshop, loader: &dyn Loader) -> Result<Duration, String> {
        let (story, begun) = (self.story, Instant::now());
        let kind = if self.control { "control-" } else { "" };
        let directory = workshop
            .scratch()
            .join(format!("{kind}{}-{}", story.name, self.turn));
        let result = Stage::set(story.name, self.control, directory.clone(), workshop, loader)
            .and_then(|mut stage| {
                stage.set_rounds(self.rounds);
                (story.play)(&mut stage)
            })
            .and_then(|()| denials::expect_none(&directory));
        let took = begun.elapsed();
        match self.judge(result) {
            Ok(()) => {
                println!("{}: passed in {} s", story.name, took.as_secs());
                let _ = std::fs::remove_dir_all(directory);
                Ok(took)
            }
            Err(error) => {
                let why = format!(
                    "FAILED after {} s: {error:#}\nlogs: {}\n{}",
                    took.as_secs(),
                    directory.display(),
                    last_lines(&directory)
                );
                println!("{}: {why}", story.name);
                Err(why)
            }
        }
    }

    /// Outcome of a story: its control run passes if the story fails with the expected words.
    fn judge(&self, result: Result<()>) -> Result<()> {
        if !self.control {
            return result;
        }
        let Control { off, fails } = self.story.control;
        let Err(error) = result else {
            bail!("it passes though this is off: {off}");
        };
        let said = format!("{error:#}");
        ensure!(
            said.contains(fails),
            "it fails, but not with {fails:?}, as it should with this off: {off}: {said}"
        );
        println!("{}: fails as it should: {said}", self.story.name);
        Ok(())
    }
}

/// The end of a failed story's latest console.
fn last_lines(directory: &Path) -> String {
    let logs = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let latest = logs
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
    let said = latest
        .and_then(|path| std::fs::read(path).ok())
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Prints how long each story took, each time, and at the very end once more why some failed: of a long run, often the
/// end alone is kept.
fn report(stories: &[&Story], played: &[(&str, Result<Duration, String>)], all: Duration) -> Result<()> {
    let mut failed = Vec::new();
    println!();
    for story in stories {
        let outcomes: Vec<_> = played.iter().filter(|(name, _)| *name == story.name).collect();
        let seconds = outcomes.iter().map(|(_, took)| match took {
            Ok(took) => format!("{} s", took.as_secs()),
            Err(_) => "failed".to_owned(),
        });
        println!("{:<18} {}", story.name, seconds.collect::<Vec<_>>().join(", "));
        if outcomes.iter().any(|(_, took)| took.is_err()) {
            failed.push(story.name);
        }
    }
    println!("{:<18} {} s", "all", all.as_secs());
    for (name, outcome) in played {
        if let Err(why) = outcome {
            println!("\n{name}: {why}");
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    let passed = played.len();
    println!("{passed} passed, 0 failed");
    Ok(())
}

fn chosen(names: &[String], all: bool) -> Result<Vec<&'static Story>> {
    if names.is_empty() {
        return Ok(STORIES.iter().filter(|story| all || story.usual).collect());
    }
    let find = |name: &String| {
        STORIES
            .iter()
            .find(|story| story.name == name)
            .with_context(|| format!("there is no story {name}; see `list`"))
    };
    names.iter().map(find).collect()
}
