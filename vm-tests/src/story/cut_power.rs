//! A power cut at every vital write of an update, and at many others.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Control, Story};
use crate::disk::writes::Recording;
use crate::disk::{Disk, SECTOR, Slot, gpt};
use crate::files;
use crate::guest::{Conduct, Release};
use crate::loader::choose;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "cut-power",
    shows: "all writes of an update replayed: after each that counts a whole slot is next; some are booted",
    play,
    usual: true,
    control: Control {
        off: "the table is written last: it is replayed first",
        fails: "is not whole",
    },
};

/// Least number of states to check in which neither partition table nor EFI partition has just
/// changed.
const OTHERS: usize = 200;
/// Number of states that are booted.
const BOOTS: usize = 6;

fn play(stage: &mut Stage) -> Result<()> {
    let releases = [
        stage.release("1.0.0", Conduct::Good)?,
        stage.release("2.0.0", Conduct::Good)?,
    ];
    let disk = stage.install(&releases[0])?;
    let cut = disk.copy(&stage.directory().join("cut.img"))?;
    let recording = stage.directory().join("writes");
    let mut machine = stage.boot(&disk.recorded(&recording)?)?;
    stage.offer(&releases[1])?;
    stage.update(&mut machine)?;
    machine.reboot()?;

    let mut recording = Recording::open(&recording)?;
    if stage.is_control() {
        let [table, backup, _] = cut.vital()?;
        recording
            .writes
            .sort_by_key(|write| !(write.touches(&table) || write.touches(&backup)));
    }
    stage.say(format_args!("{} writes were recorded", recording.writes.len()));
    look_at_all(stage, &recording, &cut, &releases)
}

/// Applies every write, and looks at the disk after all that are vital and enough of the others.
fn look_at_all(stage: &mut Stage, recording: &Recording, cut: &Disk, releases: &[Release; 2]) -> Result<()> {
    let file = File::options().read(true).write(true).open(cut.path())?;
    let [table, backup, esp] = cut.vital()?;
    let counts: Vec<bool> = recording
        .writes
        .iter()
        .map(|write| write.touches(&table) || write.touches(&backup) || write.touches(&esp))
        .collect();
    let vital = counts.iter().filter(|&&counts| counts).count();
    let every = ((counts.len() - vital) / OTHERS).max(1);
    let mut whole = Whole::new(releases)?;
    let (mut others, mut looked, mut booted) = (0, 0, 0);
    for (index, (write, counts)) in recording.writes.iter().zip(counts).enumerate() {
        recording.apply(write, &file)?;
        whole.changed(cut, write)?;
        others += usize::from(!counts);
        if !counts && !others.is_multiple_of(every) {
            continue;
        }
        looked += 1;
        let slot = whole
            .next(cut, &file)
            .with_context(|| format!("power is cut after write {index}"))?;
        // Spread over the whole update, its end included.
        if index * BOOTS >= booted * recording.writes.len() && booted < BOOTS
            || slot == Slot::B && booted == BOOTS
        {
            booted += 1;
            boots(stage, cut, slot, &releases[usize::from(slot == Slot::B)])
                .with_context(|| format!("power is cut after write {index}"))?;
        }
    }
    stage.say(format_args!(
        "{looked} states looked at, {vital} of them right after a vital write; {booted} booted"
    ));
    ensure!(looked >= vital + OTHERS, "the update had too few writes");
    ensure!(
        booted > BOOTS,
        "no state was booted after the new slot was made bootable"
    );
    Ok(())
}

fn boots(stage: &mut Stage, cut: &Disk, slot: Slot, release: &Release) -> Result<()> {
    let disk = cut.copy(&stage.directory().join("booted.img"))?;
    let mut machine = stage.boot(&disk)?;
    expect_running(&mut machine, slot, release)
}

/// Which parts of the disk are known to be as a release has them; looked at again only after they
/// changed.
struct Whole {
    /// Image and kernel of each slot's release.
    wanted: [[Vec<u8>; 2]; 2],
    /// The same for what is on the disk, if it was looked at since.
    known: [[Option<bool>; 2]; 2],
}

impl Whole {
    fn new(releases: &[Release; 2]) -> Result<Self> {
        let read = |release: &Release| -> Result<[Vec<u8>; 2]> {
            Ok([files::read(&release.image)?, files::read(&release.kernel)?])
        };
        Ok(Self {
            wanted: [read(&releases[0])?, read(&releases[1])?],
            known: [[None; 2]; 2],
        })
    }

    fn changed(&mut self, cut: &Disk, write: &crate::disk::writes::Write) -> Result<()> {
        let [_, _, esp] = cut.vital()?;
        for (slot, known) in [Slot::A, Slot::B].into_iter().zip(&mut self.known) {
            if write.touches(&slot.sectors()) {
                known[0] = None;
            }
            if write.touches(&esp) {
                known[1] = None;
            }
        }
        Ok(())
    }

    /// The slot that a loader would take; it has to be whole.
    fn next(&mut self, cut: &Disk, file: &File) -> Result<Slot> {
        let slot = choose(&gpt::read(file)?, &[]).context("no slot can be booted")?;
        let index = usize::from(slot == Slot::B);
        let [image, kernel] = &self.wanted[index];
        let known = &mut self.known[index];
        if known[0].is_none() {
            let mut there = vec![0; image.len()];
            file.read_exact_at(&mut there, slot.sectors().start * SECTOR)?;
            known[0] = Some(there == *image);
        }
        ensure!(known[0] == Some(true), "{slot} would be booted, and is not whole");
        let torn = || format!("{slot} would be booted, and its kernel is not whole");
        if known[1].is_none() {
            known[1] = Some(kernel_of(cut, slot).with_context(torn)? == *kernel);
        }
        ensure!(known[1] == Some(true), torn());
        Ok(slot)
    }
}

fn kernel_of(cut: &Disk, slot: Slot) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir_in(cut.path().parent().unwrap_or(Path::new(".")))?;
    let copy = scratch.path().join("kernel");
    cut.esp_read(slot.kernel(), &copy)?;
    files::read(&copy)
}
