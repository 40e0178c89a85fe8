//! Updates to be cut, and how they are recorded.

use std::path::Path;
use std::process::Output;

use crate::daemon;
use crate::extensions;
use crate::image::{disk, word};
use crate::loss::{Kind, Loss};
use crate::machine::{Machine, State};
use crate::node::{CONTENT, KERNEL_A, KERNEL_B, Node, OEM_A, OEM_B};
use crate::oracle::{Truth, platforms, readable};
use crate::payload::{self, Payload};
use crate::slot_b::Held;
use crate::story::Story;
use crate::trace::{Step, Trace, traced};
use crate::tree::Files;
use test_support::fixtures;
use test_support::server::Server;

/// Which payload is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Full,
    Delta,
    /// A delta that brings no kernel: the running one is copied.
    DeltaAlone,
    /// Of version 2.
    FullV2,
    /// Of version 2, of slot and kernel.
    DeltaV2,
    /// Likewise, by the product's generator.
    Generated,
    /// Of version 2, with an extra partition.
    Partition,
    /// A delta of version 2, of that partition as well.
    PartitionDelta,
    /// Of version 2, beside a content payload.
    Content,
}

/// How the node stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// A runs and is good, B is an older image that is good too.
    Sound,
    /// The same, but the backup table is noise.
    NoBackup,
    /// The same, but the primary table is noise.
    NoPrimary,
    /// A runs on trial, B is its fallback.
    OnTrial,
    /// An attempt was cut before.
    Cut,
    /// An attempt at another payload was cut while it wrote the extra partition.
    CutBeside,
    /// Both slots have extensions, and so has the update.
    Extensions,
}

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// An attempt of the installer alone, with checkpoints as often as it can.
    Installer,
    /// The daemon: preferences, record and marker as well.
    Daemon(Story),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) sector: usize,
    pub(crate) contents: Contents,
    pub(crate) before: Before,
    pub(crate) program: Program,
}

/// A program's run, and what it started from.
pub(crate) struct Recording {
    pub(crate) truth: Truth,
    pub(crate) trace: Trace,
    pub(crate) node: Node,
}

impl Scenario {
    pub(crate) const fn of(story: Story) -> Self {
        Self {
            name: "",
            sector: 512,
            contents: match story {
                Story::Superseded => Contents::Partition,
                _ => Contents::Full,
            },
            before: Before::Sound,
            program: Program::Daemon(story),
        }
    }

    pub(crate) fn truth(&self) -> Truth {
        let old = payload::image(1);
        let payload = self.payload(&old);
        let before = Held {
            image: payload::image(0),
            kernel: payload::kernel(10),
            oem: payload::oem(20),
        };
        let updated = Held {
            image: payload.image.clone(),
            kernel: payload.kernel.clone().unwrap_or_else(|| payload::kernel(11)),
            oem: payload.oem.clone().unwrap_or_else(|| before.oem.clone()),
        };
        let fallback = match self.story() {
            Some(story) if !story.fills_b() => updated.clone(),
            _ => before,
        };
        let mut disk = disk(self.sector, self.words(), &old, &fallback.image);
        let end = disk.len();
        match self.before {
            Before::NoBackup => disk[end - self.sector..].fill(0xa5),
            Before::NoPrimary => disk[self.sector..2 * self.sector].fill(0xa5),
            _ => {}
        }
        let (able, partitions) = readable(&disk, self.sector);
        let platforms = platforms(&disk, self.sector);
        Truth {
            sector: self.sector,
            start: State {
                disk,
                files: self.files(&fallback),
            },
            payload,
            updated,
            fallback,
            refused: self.before == Before::OnTrial,
            story: self.story(),
            able,
            platforms,
            partitions,
        }
    }

    fn files(&self, fallback: &Held) -> Files {
        let mut files = files(fallback);
        if self.before == Before::Extensions {
            files.extend(extensions::before());
        }
        files
    }

    fn words(&self) -> (u64, u64) {
        match (self.story(), self.before) {
            (Some(story), _) => story.words(),
            (None, Before::OnTrial) => (word(2, 0, 0), word(1, 0, 1)),
            (None, _) => (word(2, 0, 1), word(1, 0, 1)),
        }
    }

    pub(crate) const fn story(&self) -> Option<Story> {
        match self.program {
            Program::Installer => None,
            Program::Daemon(story) => Some(story),
        }
    }

    fn payload(&self, old: &[u8]) -> Payload {
        match self.contents {
            Contents::Full => payload::full(),
            Contents::Delta => payload::delta(old, Some(payload::kernel(12))),
            Contents::DeltaAlone => payload::delta(old, None),
            Contents::FullV2 => payload::full_v2(None),
            Contents::DeltaV2 => payload::delta_v2(old, &payload::kernel(11), None),
            Contents::Generated => payload::generated_delta(old, &payload::kernel(11)),
            Contents::Content => payload::with_content(old),
            Contents::Partition => payload::full_v2(Some(payload::oem(22))),
            Contents::PartitionDelta => payload::delta_v2(old, &payload::kernel(11), Some(&payload::oem(21))),
        }
    }

    /// Runs the program under `strace`.
    pub(crate) fn record(&self) -> Recording {
        let truth = self.truth();
        if let Some(story) = self.story() {
            return daemon::record(story, truth);
        }
        match self.before {
            Before::Cut => {
                let start = record(truth).cut_in_the_middle();
                record(Truth {
                    start,
                    ..self.truth()
                })
            }
            Before::CutBeside => {
                let begun = Self {
                    contents: Contents::Partition,
                    before: Before::Sound,
                    ..*self
                };
                let start = record(begun.truth()).cut_beside();
                record(truth.with_torn_partition(start))
            }
            _ => record(truth),
        }
    }
}

/// What an update needs to find and may touch.
fn files(b: &Held) -> Files {
    let key = std::fs::read(fixtures::payload("test-key.pub.pem")).unwrap();
    let release = b"FLATCAR_RELEASE_VERSION=1.0.0\nFLATCAR_RELEASE_BOARD=amd64-usr\n";
    [
        (KERNEL_A, payload::kernel(11)),
        (KERNEL_B, b.kernel.clone()),
        (OEM_A, payload::partition(&payload::oem(21))),
        (OEM_B, payload::partition(&b.oem)),
        ("/usr/share/update_engine/update-payload-key.pub.pem", key),
        ("/usr/share/flatcar/release", release.to_vec()),
        ("/etc/machine-id", b"3d1219c7c4c5404aaa1f6d2a48adfda4\n".to_vec()),
        ("/var/lib/update_engine/prefs/previous-version", b"".to_vec()),
    ]
    .map(|(path, contents)| (path.to_owned(), contents))
    .into()
}

fn record(truth: Truth) -> Recording {
    let node = Node::new();
    node.put(&truth.start);
    let log = node.path("trace");
    let output = attempt(&node, &truth.payload, |program| traced(program, &log));
    assert_eq!(output.status.success(), !truth.refused, "{}", said(&output));
    let trace = Trace::load(&log);
    Recording { truth, trace, node }
}

/// Runs an attempt in a process of its own: this program, called `attempt`, under what `wrap` makes
/// of it.
pub(crate) fn attempt(
    node: &Node,
    payload: &Payload,
    wrap: impl FnOnce(&Path) -> std::process::Command,
) -> Output {
    let server = Server::start();
    server.serve("p", payload.bytes.clone());
    server.serve(CONTENT, payload.content.clone().unwrap_or_default());
    server.serve(extensions::PACKAGE, extensions::package());
    let file = node.path("payload");
    std::fs::write(&file, &payload.bytes).unwrap();
    let mut command = wrap(&std::env::current_exe().unwrap());
    command
        .arg("attempt")
        .args([node.root(), node.disk(), file])
        .arg(server.url("p"))
        .arg(payload.content.as_ref().map_or(0, Vec::len).to_string());
    let output = command.output().expect("strace is installed");
    if payload.content.is_some() && output.status.success() {
        // Else the scenario would show the payload's installation a second time.
        let is_fetched = server.requests().iter().any(|request| request.path == "/p");
        assert!(!is_fetched, "the content payload was given up");
    }
    output
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

impl Recording {
    pub(crate) fn machine(&self) -> Machine {
        Machine::new(self.node.paths(), &self.truth.start, self.truth.sector)
    }

    /// Fails if the model, having followed all calls, doesn't see what really is there.
    pub(crate) fn check_model(&self) {
        let mut machine = self.machine();
        for step in &self.trace.steps {
            machine.apply(&self.trace, *step);
        }
        let (seen, real) = (machine.live(), self.node.state());
        assert!(seen.disk == real.disk, "the model missed a write to the disk");
        let names = |state: &State| state.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&seen), names(&real), "the model missed a file");
        assert!(seen.files == real.files, "the model missed a write to a file");
    }

    /// How many steps of the program change what a cut leaves.
    pub(crate) fn moments(&self) -> usize {
        let mut machine = self.machine();
        let steps = self.trace.steps.iter();
        steps.filter(|step| machine.apply(&self.trace, **step)).count()
    }

    /// What a cut in the middle of the attempt leaves, if nothing unsynced survives.
    fn cut_in_the_middle(&self) -> State {
        let (mut machine, mut left) = (self.machine(), self.moments() * 6 / 10);
        for step in &self.trace.steps {
            if left > 0 && machine.apply(&self.trace, *step) {
                left -= 1;
            }
        }
        machine.state(machine.cut(&mut Loss::new(Kind::Lost, 0, 0)))
    }

    /// What a cut leaves whose writes all survive, once half of the extra partition was written.
    fn cut_beside(&self) -> State {
        let (mut machine, half) = (self.machine(), self.truth.updated.oem.len() / 2);
        for step in &self.trace.steps {
            machine.apply(&self.trace, *step);
            let mut state = machine.live();
            if state.files[OEM_B].starts_with(&self.truth.updated.oem[..half]) {
                state.lose_memory();
                return state;
            }
        }
        panic!("the partition is never written")
    }

    pub(crate) fn describe(&self, step: Step) -> String {
        let (Step::Enter(number) | Step::Exit(number)) = step;
        let described = self.trace.calls[number].describe();
        let paths = self.node.paths();
        described.replace(&paths.root, "").replace(&paths.disk, "disk")
    }
}
