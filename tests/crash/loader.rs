//! The slot loader on a disk whose power fails: its real code, without the firmware. It writes the table before
//! every kernel: a repair, a try that is spent.

use std::any::Any;
use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use slot_loader::Machine;
use slots::{Disk, Geometry, SectorSize};

use crate::cuts::{Count, SURE};
use crate::device::{Device, Fingerprint};
use crate::image::{ENTRY, disk, place, word, word_of};
use crate::loss::{Kind, Loss};
use crate::readers::{self, READERS, Reader};

/// A machine that is powered on, until a kernel takes it over.
struct PowerOn<'a> {
    medium: Medium<'a>,
    /// What a cut would have left when the first kernel was looked for.
    first_look: Option<Vec<u8>>,
    said: String,
}

/// Its disk. Calls are numbered, and each is told to a witness.
struct Medium<'a> {
    device: Device,
    live: Vec<u8>,
    sector: usize,
    calls: usize,
    /// The write or flush that fails, and whether those after it do as well.
    fails: Option<(usize, Lasting)>,
    witness: &'a mut dyn FnMut(&Device, usize, &str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Once,
    ForEver,
}

#[derive(Debug, thiserror::Error)]
#[error("input/output error")]
struct Fault;

/// A kernel runs: the loader is no more.
struct TakenOver(char);

impl Medium<'_> {
    fn call(&mut self) -> Result<usize, Fault> {
        self.calls += 1;
        match self.fails {
            Some((nth, Lasting::Once)) if self.calls == nth => Err(Fault),
            Some((nth, Lasting::ForEver)) if self.calls >= nth => Err(Fault),
            _ => Ok(self.calls),
        }
    }
}

impl Disk for Medium<'_> {
    type Error = Fault;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::new(u32::try_from(self.sector).unwrap()).unwrap(),
            sectors: (self.live.len() / self.sector) as u64,
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let at = usize::try_from(lba)
            .ok()
            .and_then(|lba| lba.checked_mul(self.sector));
        let bytes = at.and_then(|at| self.live.get(at..at.checked_add(buf.len())?));
        buf.copy_from_slice(bytes.ok_or(Fault)?);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Fault> {
        let call = self.call()?;
        let at = usize::try_from(lba).unwrap() * self.sector;
        self.live[at..at + data.len()].copy_from_slice(data);
        self.device.write(call, 0, at, data.to_vec());
        self.device.returned(call, data.len());
        (self.witness)(&self.device, call, "a write");
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        let call = self.call()?;
        let covered = self.device.synced_by(0);
        self.device.sync(&covered);
        (self.witness)(&self.device, call, "a flush");
        Ok(())
    }
}

impl<'a> Machine for PowerOn<'a> {
    type Disk = Medium<'a>;
    type Kernel = char;
    type Error = Fault;

    fn disk(&mut self) -> &mut Medium<'a> {
        &mut self.medium
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        if path.starts_with("\\flatcar\\vmlinuz-") {
            let device = &self.medium.device;
            let durable = || device.whole(&device.after(&mut Loss::new(Kind::Lost, 0, 0)));
            self.first_look.get_or_insert_with(durable);
            return Ok(Some(vec![b'k'; limit.min(64)]));
        }
        Ok(None)
    }

    fn load(&mut self, path: &str, _: &str) -> Result<char, Fault> {
        path.chars().last().ok_or(Fault)
    }

    fn start(&mut self, kernel: char) -> Fault {
        resume_unwind(Box::new(TakenOver(kernel)))
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        write!(self.said, "{line}; ").expect("a String takes everything");
    }
}

/// What one power-on came to.
pub(crate) struct Booted {
    /// 3 or 4.
    pub(crate) slot: u8,
    /// What a cut right after the kernel's start leaves at least.
    pub(crate) disk: Vec<u8>,
    /// The same of the moment when its file was looked for.
    first_look: Vec<u8>,
    writes: usize,
}

fn power_on(
    disk: Vec<u8>,
    sector: usize,
    fails: Option<(usize, Lasting)>,
    witness: &mut dyn FnMut(&Device, usize, &str),
) -> Result<Booted, String> {
    let mut machine = PowerOn {
        medium: Medium {
            device: Device::new(disk.clone(), sector),
            live: disk,
            sector,
            calls: 0,
            fails,
            witness,
        },
        first_look: None,
        said: String::new(),
    };
    let ended = catch_unwind(AssertUnwindSafe(|| slot_loader::boot(&mut machine)));
    match ended.map_err(<Box<dyn Any + Send>>::downcast::<TakenOver>) {
        Ok(reason) => Err(format!("the slot loader gives up: {reason} ({})", machine.said)),
        Err(Err(panic)) => resume_unwind(panic),
        Err(Ok(kernel)) => Ok(Booted {
            slot: if kernel.0 == 'a' { 3 } else { 4 },
            disk: durable(&machine.medium.device),
            first_look: machine.first_look.unwrap_or_default(),
            writes: machine.medium.calls,
        }),
    }
}

fn durable(device: &Device) -> Vec<u8> {
    device.whole(&device.after(&mut Loss::new(Kind::Lost, 0, 0)))
}

/// Powers a machine with this disk on.
pub(crate) fn boot(disk: &[u8], sector: usize) -> Result<Booted, String> {
    let booted = power_on(disk.to_vec(), sector, None, &mut |_, _, _| {})?;
    let entries = readers::entries(disk, sector, Reader::SlotLoader);
    let modelled = entries.and_then(|entries| readers::chosen(&entries));
    if modelled == Some(booted.slot.into()) {
        Ok(booted)
    } else {
        Err(format!(
            "the slot loader boots partition {}, its model {modelled:?}",
            booted.slot
        ))
    }
}

/// Attribute words of A and B.
const SLOTS: [(u64, u64); 4] = [
    (word(1, 0, 1), word(2, 1, 0)),
    (word(1, 0, 1), word(2, 3, 0)),
    (word(2, 0, 1), word(1, 0, 1)),
    (word(1, 0, 1), word(2, 0, 0)),
];

/// A disk to start from, and what its two slots are.
struct Start {
    name: String,
    disk: Vec<u8>,
    sector: usize,
}

/// Sound disks, every damage to one copy, copies that differ, and a disk that has grown.
fn starts(sector: usize) -> Vec<Start> {
    let mut starts = Vec::new();
    for words in SLOTS {
        let sound = disk(sector, words, b"A", b"B");
        let end = sound.len();
        let array = (128 * ENTRY).div_ceil(sector);
        let damaged = |at: usize| {
            let mut disk = sound.clone();
            disk[at..at + 64].fill(0xa5);
            disk
        };
        let older = disk(sector, (word(1, 0, 1), word(0, 0, 0)), b"A", b"B");
        let differing = [&sound[..end / 2], &older[end / 2..]].concat();
        let grown = [sound.clone(), vec![0; 64 << 10]].concat();
        let disks = [
            ("sound", sound.clone()),
            ("no primary header", damaged(sector)),
            ("no primary entries", damaged(2 * sector + 2 * ENTRY)),
            ("no backup header", damaged(end - sector)),
            ("no backup entries", damaged(end - (1 + array) * sector)),
            ("copies that differ", differing),
            ("a disk that has grown", grown),
        ];
        starts.extend(disks.map(|(name, disk)| Start {
            name: format!("{name}, B {:#x}", words.1 >> 48),
            disk,
            sector,
        }));
    }
    starts
}

impl Start {
    fn able(&self) -> impl Iterator<Item = Reader> + '_ {
        let able = |reader: &Reader| readers::entries(&self.disk, self.sector, *reader).is_some();
        READERS.into_iter().filter(able)
    }

    /// No reader loses what it had, and no partition is touched.
    fn check(&self, disk: &[u8]) -> Result<(), String> {
        for number in [1, 2, 3, 4, 6, 7, 9] {
            if disk[place(number)] != self.disk[place(number)] {
                return Err(format!("partition {number} has changed"));
            }
        }
        for reader in self.able() {
            let entries = readers::entries(disk, self.sector, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table"))?;
            readers::chosen(&entries).ok_or(format!("{reader:?} finds no slot"))?;
        }
        Ok(())
    }

    /// The try is spent for these readers, on the medium, before a kernel is looked for.
    fn is_spent(&self, booted: &Booted, readers: impl IntoIterator<Item = Reader>) -> Result<(), String> {
        let before = readers::entries(&self.disk, self.sector, Reader::SlotLoader).unwrap_or_default();
        let before = word_of(&before, booted.slot);
        let expected = before - u64::from(before >> 52 & 15 != 0) * (1 << 52);
        for reader in readers {
            let entries = readers::entries(&booted.first_look, self.sector, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table when the kernel starts"))?;
            if word_of(&entries, booted.slot) != expected {
                return Err(format!(
                    "{reader:?} doesn't find the try spent when the kernel starts"
                ));
            }
        }
        Ok(())
    }
}

/// Cuts the loader's writes everywhere, powers on again, cuts that too, and makes each call fail.
pub(crate) fn everywhere(sector: usize, points: usize) -> Result<Count, Vec<String>> {
    let starts = starts(sector);
    let mut survey = Survey {
        each: 1,
        known: HashSet::new(),
        count: Count::default(),
        flaws: Vec::new(),
    };
    for start in &starts {
        survey.cut(start, &start.disk, 0);
    }
    let moments = survey.count.moments.max(1);
    survey.each = points.saturating_sub(survey.count.points).div_ceil(moments);
    let again: &[Start] = if survey.each > 1 { &starts } else { &[] };
    for start in again {
        survey.cut(start, &start.disk, 0);
    }
    for start in &starts {
        survey.fail(start);
    }
    if survey.flaws.is_empty() {
        Ok(survey.count)
    } else {
        Err(survey.flaws)
    }
}

/// What was seen so far.
struct Survey {
    /// Mixed losses after each write and flush.
    each: usize,
    known: HashSet<(String, Fingerprint)>,
    count: Count,
    flaws: Vec<String>,
}

/// So many power-ons in a row are cut.
const DEPTH: usize = 2;

impl Survey {
    fn cut(&mut self, start: &Start, disk: &[u8], depth: usize) {
        let mut left = Vec::new();
        let booted = power_on(disk.to_vec(), start.sector, None, &mut |device, call, what| {
            self.count.moments += 1;
            let mixed = std::iter::repeat_n(Kind::Mixed, self.each);
            for (variant, kind) in SURE.into_iter().chain(mixed).enumerate() {
                let seed = (depth << 40 | call << 20 | variant) as u64 + self.each as u64;
                let survived = device.after(&mut Loss::new(kind, call, seed));
                self.count.points += 1;
                if self.known.insert((start.name.clone(), survived.fingerprint)) {
                    left.push((
                        format!("{kind:?} after {what}, call {call}, seed {seed}"),
                        device.whole(&survived),
                    ));
                }
            }
        });
        let judged = booted.and_then(|booted| {
            start.check(&booted.disk)?;
            // All readers: the table was repaired before.
            if depth == 0 {
                start.is_spent(&booted, READERS)
            } else {
                Ok(())
            }
        });
        self.note(&start.name, judged);
        for (name, disk) in left {
            self.count.states += 1;
            let judged = start
                .check(&disk)
                .and_then(|()| boot(&disk, start.sector).map(drop));
            self.note(&format!("{}, {name}", start.name), judged);
            if depth + 1 < DEPTH {
                self.cut(start, &disk, depth + 1);
            }
        }
    }

    /// One call fails, or all from one on: a kernel starts all the same, and a slot on trial not without having
    /// spent its try.
    fn fail(&mut self, start: &Start) {
        let sound = power_on(start.disk.clone(), start.sector, None, &mut |_, _, _| {});
        let calls = sound.map_or(0, |booted| booted.writes);
        for nth in 1..=calls {
            for lasting in [Lasting::Once, Lasting::ForEver] {
                self.count.faults += 1;
                let booted = power_on(
                    start.disk.clone(),
                    start.sector,
                    Some((nth, lasting)),
                    &mut |_, _, _| {},
                );
                let judged = booted.and_then(|booted| {
                    start.check(&booted.disk)?;
                    let entries = readers::entries(&start.disk, start.sector, Reader::SlotLoader);
                    let was_good = word_of(&entries.unwrap_or_default(), booted.slot) >> 56 & 1 == 1;
                    if was_good {
                        Ok(())
                    } else {
                        start.is_spent(&booted, start.able())
                    }
                });
                self.note(&format!("{}, call {nth} fails {lasting:?}", start.name), judged);
            }
        }
    }

    fn note(&mut self, name: &str, judged: Result<(), String>) {
        if let Err(flaw) = judged {
            self.flaws.push(format!("{name}: {flaw}"));
        }
    }
}
