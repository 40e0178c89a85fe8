//! The slot loader's boot sequence, over any disk, command line and files.

use std::fmt;

use slot_loader::{CommandLine, GaveUp, Letter, Machine, RootHash};
use slots::{Gpt, Guid, PartitionNumber, SlotAttributes};

use super::disk::{Failure, Recorder};
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "loader",
    property: "When a kernel is loaded, its slot's try is spent on the medium, or the slot is good; its command \
               line is ASCII, at most 2047 bytes, and names its partition; each slot is tried once, and then \
               the loader ends.",
    check,
};

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let mut disk = Recorder::any(&mut input);
    disk.budget = usize::from(input.byte());
    let slots = slots_of(&disk.live);
    let files: [u8; 6] = std::array::from_fn(|_| input.byte());
    let has_hash = input.is_odd();
    let mut machine = Fake {
        disk,
        files,
        has_hash,
        slots,
        loaded: 0,
        bug,
        command_line: input.rest().to_vec(),
    };
    let most = machine.slots.len();
    command_line(&machine.command_line, has_hash);
    match slot_loader::boot(&mut machine) {
        GaveUp::NoSlot { passed_over } => assert!(passed_over <= most && machine.loaded <= passed_over),
        GaveUp::NoTable(_) => assert_eq!(
            machine.loaded, 0,
            "kernels are loaded from a disk without a table"
        ),
    }
}

type Slot = (PartitionNumber, Option<Letter>, Guid, SlotAttributes);

fn slots_of(disk: &[u8]) -> Vec<Slot> {
    let Ok(gpt) = Gpt::read(&mut Recorder::new(disk.to_vec())) else {
        return Vec::new();
    };
    let slots = gpt
        .table()
        .partitions()
        .filter(|slot| slot.kind == Guid::FLATCAR_USR);
    slots
        .map(|slot| (slot.number, Letter::of(&slot), slot.guid, slot.attributes))
        .collect()
}

/// What is made of a command line by itself.
fn command_line(bytes: &[u8], has_hash: bool) {
    let hash = has_hash.then(|| RootHash::of_kernel(&[b'a'; RootHash::END]).expect("digits"));
    let Ok(line) = CommandLine::parse(bytes) else {
        return;
    };
    let expand = |slot, guid| line.expand(slot, guid, hash);
    let [first, second] = [
        expand(Letter::A, Guid::FLATCAR_USR_A),
        expand(Letter::B, Guid::FLATCAR_USR_B),
    ];
    if let (Ok(first), Ok(second)) = (&first, &second) {
        assert_ne!(first, second, "both slots mount the same /usr");
    }
    assert_eq!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
}

/// A machine whose kernels all return.
struct Fake {
    disk: Recorder,
    /// What each kernel file is: missing, unreadable, refused, started in vain.
    files: [u8; 6],
    has_hash: bool,
    /// As they were at power-on.
    slots: Vec<Slot>,
    loaded: usize,
    bug: Bug,
    command_line: Vec<u8>,
}

impl Fake {
    fn file(&self, path: &str) -> u8 {
        let all = [Letter::A, Letter::B].map(Letter::kernels);
        let mut all = all.into_iter().flatten();
        let index = all.position(|known| known == path).expect("a slot's kernel");
        self.files[index] % 4
    }
}

impl Machine for Fake {
    type Disk = Recorder;
    type Kernel = ();
    type Error = Failure;

    fn disk(&mut self) -> &mut Recorder {
        &mut self.disk
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        if path == CommandLine::PATH {
            let len = self.command_line.len().min(limit);
            return Ok((len > 0).then(|| self.command_line[..len].to_vec()));
        }
        match self.file(path) {
            0 => Ok(None),
            1 => Err(Failure),
            _ if self.has_hash => Ok(Some(vec![b'a'; limit])),
            _ => Ok(Some(vec![b'M'; limit])),
        }
    }

    fn load(&mut self, path: &str, command_line: &str) -> Result<(), Failure> {
        self.loaded += 1;
        assert!(self.loaded <= self.slots.len(), "a slot is tried twice");
        let mut line = command_line.to_owned();
        if self.bug.strikes(self.loaded == 2 && line.len() > 80) {
            line.push('\u{1b}');
        }
        assert!(line.len() <= CommandLine::LIMIT);
        assert!(
            line.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')),
            "{line:?}"
        );
        let now = slots_of(&self.disk.durable);
        let is_sound = |(number, letter, guid, before): &Slot| {
            let is_own = letter.is_some_and(|letter| letter.kernels().any(|kernel| kernel == path));
            let mut now = now.iter();
            let spent = now.find(|(other, ..)| other == number).map(|(.., after)| *after);
            let is_spent = before.tries().get() > 0 && spent == Some(before.after_boot());
            is_own && line.contains(&guid.to_string()) && (before.is_good() || is_spent)
        };
        assert!(
            self.slots.iter().any(is_sound),
            "{path} {line:?}: {:?} now {now:?}",
            self.slots
        );
        if self.file(path) == 2 {
            Err(Failure)
        } else {
            Ok(())
        }
    }

    fn start(&mut self, (): ()) -> Failure {
        Failure
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        let _ = line.to_string();
    }
}
