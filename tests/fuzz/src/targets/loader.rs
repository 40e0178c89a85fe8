//! The slot loader's boot sequence, over any disk, command line, files and chipset.

use std::fmt;

use slot_loader::{
    Chipset, CommandLine, GaveUp, Handover, Letter, LpcRegister, Machine, RootHash, Sha256Digest, TcoPlace,
    TcoRegister,
};
use slots::{Gpt, Guid, PartitionNumber, SlotAttributes};

use super::disk::{Failure, Recorder};
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "loader",
    property: "When a kernel is loaded, its slot's try is spent on the medium, or the slot is good; its command \
               line is ASCII, at most 2047 bytes, and names its partition; a watchdog runs only if the slot \
               is on trial and the other one good; each slot is tried once, and then the loader ends, with \
               no watchdog running.",
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
        chipset: FakeChipset::any(files[1], files[2], input.clone().rest()),
        command_line: input.rest().to_vec(),
    };
    let most = machine.slots.len();
    command_line(&machine.command_line, has_hash);
    handover(&machine.command_line);
    match slot_loader::boot(&mut machine) {
        GaveUp::NoSlot { passed_over } => assert!(passed_over <= most && machine.loaded <= passed_over),
        GaveUp::NoTable(_) => assert_eq!(
            machine.loaded, 0,
            "kernels are loaded from a disk without a table"
        ),
    }
    assert!(!machine.chipset.runs(), "a watchdog runs on");
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

/// What is made of a handover file by itself.
fn handover(bytes: &[u8]) {
    if let Ok(handover) = Handover::parse(bytes) {
        assert!((26..=1001).contains(&handover.timeout.ticks()));
        assert!((30..=3600).contains(&handover.open_timeout.seconds()));
    }
}

/// Digest of every kernel.
const DIGEST: Sha256Digest = Sha256Digest([0xd1; 32]);

/// A TCO timer that is halted at first.
struct FakeChipset {
    /// Registers of the LPC bridge, in the order of their offsets.
    lpc: [u32; 4],
    /// Whether a strap keeps it from resetting.
    strapped: bool,
    /// Whether the ticks are kept.
    keeps: bool,
    gcs: u32,
    control: u16,
    timer: u16,
}

impl FakeChipset {
    /// By the upper bits of two bytes; where it is another chipset than q35's, with what `bytes` say.
    fn any(what: u8, how: u8, bytes: &[u8]) -> Self {
        let mut lpc = [0x2918_8086, 0x601, 0x80, 0xfed1_c001];
        if what & 4 != 0 {
            let index = usize::from(what >> 3) % lpc.len();
            let chunk: [u8; 4] = std::array::from_fn(|place| bytes.get(place).copied().unwrap_or(0));
            lpc[index] = u32::from_le_bytes(chunk);
        }
        Self {
            lpc,
            strapped: how & 4 != 0,
            keeps: how & 8 == 0,
            gcs: 1 << 5,
            control: 1 << 11,
            timer: 4,
        }
    }

    /// Whether it resets the machine in a while.
    fn runs(&self) -> bool {
        self.control & 1 << 11 == 0 && self.gcs & 1 << 5 == 0
    }
}

impl Chipset for FakeChipset {
    fn lpc(&mut self, register: LpcRegister) -> u32 {
        match register {
            LpcRegister::Identity => self.lpc[0],
            LpcRegister::PmBase => self.lpc[1],
            LpcRegister::AcpiControl => self.lpc[2],
            LpcRegister::RootComplexBase => self.lpc[3],
        }
    }

    fn read(&mut self, place: TcoPlace, register: TcoRegister) -> u16 {
        assert!((0x460..=0xfff2).contains(&place.port(register)), "{place:?}");
        match register {
            TcoRegister::Control1 => self.control,
            TcoRegister::Timer => self.timer,
            TcoRegister::Reload | TcoRegister::Status1 | TcoRegister::Status2 => 0,
        }
    }

    fn write(&mut self, place: TcoPlace, register: TcoRegister, value: u16) {
        assert!((0x460..=0xfff2).contains(&place.port(register)), "{place:?}");
        match register {
            TcoRegister::Control1 => self.control = value,
            TcoRegister::Timer if self.keeps => self.timer = value,
            _ => {}
        }
    }

    fn gcs(&mut self, place: TcoPlace) -> u32 {
        assert!(
            place.gcs() >= 0xe000_0000 && place.gcs().is_multiple_of(4),
            "{place:?}"
        );
        self.gcs
    }

    fn set_gcs(&mut self, _: TcoPlace, value: u32) {
        self.gcs = value | u32::from(self.strapped) << 5;
    }
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
    chipset: FakeChipset,
}

impl Fake {
    fn file(&self, path: &str) -> u8 {
        let all = [Letter::A, Letter::B].map(Letter::kernels);
        let mut all = all.into_iter().flatten();
        let index = all.position(|known| known == path).expect("a slot's kernel");
        self.files[index] % 4
    }

    /// A handover file: missing, for every kernel, any bytes, unreadable.
    fn handover(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self.files[0] >> 2 & 3 {
            0 => Ok(None),
            1 => {
                let file = format!("KERNEL={DIGEST}\nITCO_TIMEOUT=180\nOPEN_TIMEOUT=240\nFED_BY=systemd\n");
                Ok(Some(file.into_bytes()))
            }
            2 => Ok(Some(self.command_line.clone())),
            _ => Err(Failure),
        }
    }

    /// Whether a watchdog may run while the kernel at `path` does.
    fn may_be_armed(&self, path: &str, line: &str) -> bool {
        let now = slots_of(&self.disk.durable);
        let of = |wanted: fn(&str, Letter) -> bool, holds: fn(SlotAttributes) -> bool| {
            let mut slots = now.iter();
            slots.any(|(_, letter, _, attributes)| {
                letter.is_some_and(|letter| wanted(path, letter)) && holds(*attributes)
            })
        };
        let is_own = |path: &str, letter: Letter| letter.kernels().any(|kernel| kernel == path);
        let is_other = |path: &str, letter: Letter| letter.other().kernels().any(|kernel| kernel == path);
        of(is_own, |attributes| !attributes.is_successful())
            && of(is_other, SlotAttributes::is_good)
            && line.contains(" watchdog.open_timeout=")
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
        if path.ends_with(".watchdog") {
            return self.handover();
        }
        match self.file(path) {
            0 => Ok(None),
            1 => Err(Failure),
            _ if self.has_hash => Ok(Some(vec![b'a'; limit])),
            _ => Ok(Some(vec![b'M'; limit])),
        }
    }

    fn digest(&mut self, path: &str) -> Result<Sha256Digest, Failure> {
        if self.file(path) > 1 {
            Ok(DIGEST)
        } else {
            Err(Failure)
        }
    }

    fn chipset(&mut self) -> Option<&mut dyn Chipset> {
        Some(&mut self.chipset)
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
        if self.chipset.runs() {
            assert!(self.may_be_armed(path, command_line), "{path} {line:?}: armed");
        }
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
