//! The slot loader on a disk whose power fails: its real code, without the firmware. It writes the
//! table before every kernel: a repair, a try that is spent.

mod medium;
mod power_on;
mod start;

use std::collections::HashSet;

use medium::Lasting;
use power_on::{Booted, power_on};
pub(crate) use start::{Start, starts};

use crate::cuts::{Count, SURE};
use crate::device::Fingerprint;
use crate::image::word_of;
use crate::loss::{Kind, Loss};
use crate::readers::{self, READERS, Reader};

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

    /// One call fails, or all from one on: a kernel starts all the same, and a slot on trial not
    /// without having spent its try.
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
