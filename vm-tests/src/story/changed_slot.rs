//! A slot that was changed after its update, and a kernel that insists on another image: dm-verity lets neither run.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, bail};

use super::bad_release::{HangCourse, Victim};
use super::{Control, Story};
use crate::disk::{Disk, SECTOR, Slot};
use crate::guest::{Conduct, Recipe};
use crate::machine::End;
use crate::stage::{Stage, expect_running};

pub(super) const STORY: Story = Story {
    name: "changed-slot",
    shows: "one block of B is changed after the update, then its kernel has another root hash: dm-verity ends B's boot, and A is back",
    play,
    usual: false,
    control: Control {
        off: "B's initrd mounts the slot as it is, not through dm-verity",
        fails: "runs although a block of it was changed",
    },
};

/// The block with the superblock of a btrfs.
const SUPERBLOCK: u64 = 16;
const BLOCK: usize = 4096;
/// Its checksum: of all that follows on 32 bytes.
const SUM_LEN: usize = 32;
/// Offset of the file system's label, by which nothing is decided.
const LABEL: usize = 0x12b;

fn play(stage: &mut Stage) -> Result<()> {
    let recipe = |version| Recipe {
        flatcar_image: true,
        ..Recipe::new(version, Conduct::Good)
    };
    let second = Recipe {
        guarded: !stage.is_control(),
        ..recipe("2.0.0")
    };
    Victim::rounds(stage, (&recipe("1.0.0"), &second), is_left_each_time).map(drop)
}

fn is_left_each_time(stage: &mut Stage, node: &Victim) -> Result<()> {
    let whole = node.disk.copy(&stage.directory().join("whole.img"))?;
    change_block(&node.disk)?;
    stage.say(format_args!("block {SUPERBLOCK} of {} is changed", Slot::B));
    if stage.is_control() {
        let mut machine = stage.boot(&node.disk)?;
        expect_running(&mut machine, Slot::B, &node.second)?;
        bail!("{} runs although a block of it was changed", Slot::B);
    }
    let changed = format!("data block {SUPERBLOCK} is corrupted");
    drop(node.hangs(stage, &ended_by(&[&changed, PANIC]))?);

    whole.copy(node.disk.path())?;
    change_root_hash(stage, node)?;
    stage.say(format_args!("the kernel of {} has another root hash", Slot::B));
    node.hangs(stage, &ended_by(&["metadata block ", PANIC]))
        .map(drop)
}

/// The kernel's last words.
const PANIC: &str = "dm-verity device corrupted";

/// The kernel panics, and resets.
fn ended_by<'a>(words: &'a [&'a str]) -> HangCourse<'a> {
    HangCourse {
        own_clock: false,
        last_words: words,
        end: End::Reset,
        cause: "did not come up",
    }
}

/// Gives the file system another label, and its superblock the right checksum: btrfs itself takes it.
fn change_block(disk: &Disk) -> Result<()> {
    let file = File::options().read(true).write(true).open(disk.path())?;
    let at = Slot::B.sectors().start * SECTOR + SUPERBLOCK * u64::try_from(BLOCK)?;
    let mut block = [0; BLOCK];
    file.read_exact_at(&mut block, at)?;
    block[LABEL] = b'x';
    let sum = crc32c(&block[SUM_LEN..]);
    block[..4].copy_from_slice(&sum.to_le_bytes());
    Ok(file.write_all_at(&block, at)?)
}

/// As btrfs has it: Castagnoli's polynomial, reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg())
        })
    });
    !sum
}

fn change_root_hash(stage: &Stage, node: &Victim) -> Result<()> {
    let kernel = stage.directory().join("kernel-of-another-image");
    node.disk.esp_read(Slot::B.kernel(), &kernel)?;
    let hash = node
        .second
        .root_hash
        .as_ref()
        .context("the image has no root hash")?;
    hash.other()
        .write_into_application(&kernel, stage.architecture())?;
    node.disk.esp_write(Slot::B.kernel(), &kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
