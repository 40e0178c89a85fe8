//! Cutting a recorded update after each of its writes and syncs, in many ways.

use std::collections::HashSet;
use std::fmt;
use std::ops::AddAssign;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::announced;
use crate::loss::{Kind, Loss};
use crate::machine::{Machine, State};
use crate::memory::Told;
use crate::oracle::{Afterlife, Truth};
use crate::scenario::{Recording, Scenario};
use crate::tree::Files;

/// How much was tried.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// Writes and syncs after which the power failed.
    pub(crate) moments: usize,
    /// Ways in which it did, all in all.
    pub(crate) points: usize,
    /// Different states that this left, each of them booted and updated.
    pub(crate) states: usize,
    /// Calls that failed instead.
    pub(crate) faults: usize,
    /// Machines that did not come up, each for a reason that is expected of GRUB's writes and has a
    /// name.
    pub(crate) named: Named,
}

/// What GRUB's own writes can end in, by what is expected to follow them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Named {
    /// Linux without `gpt` finds no partitions: the primary is torn.
    pub(crate) no_partitions: usize,
    /// GRUB stops at a torn primary and the other copy of another time: the disk had reordered the
    /// writes.
    pub(crate) grub_stops: usize,
    /// No copy is whole: the disk had reordered the writes, or one copy was damaged before.
    pub(crate) no_copy: usize,
    /// The primary is torn, and the disk has grown away from the backup.
    pub(crate) grown: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.moments += other.moments;
        self.points += other.points;
        self.states += other.states;
        self.faults += other.faults;
        self.named.no_partitions += other.named.no_partitions;
        self.named.grub_stops += other.named.grub_stops;
        self.named.no_copy += other.named.no_copy;
        self.named.grown += other.named.grown;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} crash points after {} writes and syncs, {} different states booted and updated, {} faults",
            self.points, self.moments, self.states, self.faults
        )?;
        let Named {
            no_partitions,
            grub_stops,
            no_copy,
            grown,
        } = self.named;
        if no_partitions + grub_stops + no_copy + grown == 0 {
            return Ok(());
        }
        write!(
            f,
            "; after GRUB's own writes {no_partitions} times Linux without gpt found no partitions, {grub_stops} times \
             GRUB stopped, {no_copy} times no copy was left, {grown} times the disk had grown away from it"
        )
    }
}

/// Servers remember their requests, so that they are renewed.
const LIVES_PER_SERVER: usize = 500;

pub(crate) const SURE: [Kind; 4] = [Kind::Lost, Kind::Kept, Kind::Overtaken, Kind::Torn];

struct Job {
    name: String,
    state: State,
    told: Told,
}

/// Cuts `scenario` at `points` points, and no fewer than five after each write and sync.
pub(crate) fn everywhere(scenario: &Scenario, points: usize) -> Result<Count, Vec<String>> {
    let recording = scenario.record();
    recording.check_model();
    let flaws = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (sender, jobs) = sync_channel(workers * 2);
    let jobs = Mutex::new(jobs);
    let count = thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&recording.truth, &jobs, &flaws));
        }
        let count = cut(&recording, points, &sender, &flaws);
        // The workers end when nothing more can come.
        drop(sender);
        count
    });
    let flaws = flaws.into_inner().unwrap();
    if flaws.is_empty() { Ok(count) } else { Err(flaws) }
}

fn work(truth: &Truth, jobs: &Mutex<Receiver<Job>>, flaws: &Mutex<Vec<String>>) {
    loop {
        let afterlife = Afterlife::new(truth);
        for _ in 0..LIVES_PER_SERVER {
            let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { name, state, told }) = job else {
                return;
            };
            if let Err(flaw) = afterlife.live(&state, told) {
                flaws.lock().unwrap().push(format!("{name}: {flaw}"));
            }
        }
    }
}

fn cut(recording: &Recording, points: usize, jobs: &SyncSender<Job>, flaws: &Mutex<Vec<String>>) -> Count {
    let moments = recording.moments();
    let mixed = points.div_ceil(moments.max(1)).saturating_sub(SURE.len()).max(1);
    let mut count = Count {
        moments,
        ..Count::default()
    };
    let mut machine = recording.machine();
    let mut known = HashSet::new();
    for (number, step) in recording.trace.steps.iter().enumerate() {
        if !machine.apply(&recording.trace, *step) {
            continue;
        }
        if recording.truth.story.is_some() {
            count.points += 1;
            let checked = announced::check(&recording.truth, &machine.live());
            let killed = |flaw| format!("Killed after {}: {flaw}", recording.describe(*step));
            flaws.lock().unwrap().extend(checked.map_err(killed).err());
        }
        let kinds = SURE.into_iter().chain(std::iter::repeat_n(Kind::Mixed, mixed));
        for (variant, kind) in kinds.enumerate() {
            let seed = (number * 1_000_003 + variant) as u64;
            let (crate::trace::Step::Enter(call) | crate::trace::Step::Exit(call)) = *step;
            let left = machine.cut(&mut Loss::new(kind, call, seed));
            count.points += 1;
            let name = || format!("{kind:?} after {}, seed {seed}", recording.describe(*step));
            if let Some(path) = torn(&machine, &left.files) {
                flaws.lock().unwrap().push(format!("{}: {path} is torn", name()));
            }
            if known.insert(left.digest()) {
                count.states += 1;
                let state = machine.state(left);
                let job = Job {
                    name: name(),
                    state,
                    told: machine.told(),
                };
                if jobs.send(job).is_err() {
                    return count;
                }
            }
        }
    }
    count
}

/// A file of the daemon's state that is neither old nor new.
fn torn(machine: &Machine, files: &Files) -> Option<String> {
    let of_ours = |path: &str| {
        path.strip_prefix("/var/lib/update_engine/")
            .and_then(|rest| rest.rsplit('/').next())
            .is_some_and(|name| !name.starts_with('.') && !name.starts_with("pcrs-"))
    };
    let mut files = files.iter();
    let torn = files.find(|(path, contents)| of_ours(path) && !machine.is_whole(path, contents));
    torn.map(|(path, _)| path.clone())
}
