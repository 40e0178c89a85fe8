//! The models are held to `states.txt`: disks, and what the real programs made of them.
//!
//! With `GPT_STATES` naming a directory the test leaves each disk there, by its sector and row, for
//! whoever wants to ask a real program again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use slots::Gpt;

use crate::image::{ENTRY, SECTORS, Shape, USUAL, build, put, shaped, with_gap, word, word_of};
use crate::readers::{self, Firmware, Outcome, Reader, Table};
use crate::recorder::Recorder;

const STATES: &str = include_str!("states.txt");

/// Both slots' words before a try of B's is spent, and after.
fn words() -> [(u64, u64); 2] {
    [(word(1, 0, 1), word(2, 1, 0)), (word(1, 0, 1), word(2, 0, 0))]
}

fn before(sector: usize) -> Vec<u8> {
    let [(a, b), _] = words();
    build(sector, a, b)
}

fn after(sector: usize) -> Vec<u8> {
    let [_, (a, b)] = words();
    build(sector, a, b)
}

/// The disk that a row's first column names.
fn state(name: &str, sector: usize) -> Vec<u8> {
    let array = u64::try_from((128 * ENTRY).div_ceil(sector)).unwrap();
    let damaged = |mut disk: Vec<u8>, lba: u64| {
        put(&mut disk, sector, lba, &[0xa5; 64]);
        disk
    };
    if let Some(pieces) = name.strip_prefix("wrote") {
        return written(pieces, sector);
    }
    if let Some(rest) = name.strip_prefix("grown") {
        let mut disk = state(rest.strip_prefix(", ").unwrap_or("sound"), sector);
        disk.resize(disk.len() + 100 * sector, 0);
        return disk;
    }
    let shape = |header, count, size| {
        let [(a, b), _] = words();
        shaped(sector, Shape { header, count, size }, a, b)
    };
    let sound = before(sector);
    match name {
        "sound" => sound,
        "header vouches for backup, old entries" => vouching(sector, &sound, Other::Backup),
        "header vouches for backup, new entries" => vouching(sector, &after(sector), Other::Backup),
        "header vouches for spare array, old entries" => vouching(sector, &sound, Other::Spare),
        "header vouches for spare array, new entries" => vouching(sector, &after(sector), Other::Spare),
        "primary unsigned" => {
            let mut disk = sound;
            disk[sector..sector + 8].fill(0);
            disk
        }
        // Everything but the signature may be wrong: part_gpt doesn't ask.
        "primary header damaged" => {
            let mut disk = sound;
            disk[sector + 16] ^= 1;
            disk
        }
        "primary entries damaged" => damaged(sound, 1 + array),
        "backup header damaged" => damaged(sound, SECTORS - 1),
        "backup entries damaged" => damaged(sound, SECTORS - 2),
        "both headers damaged" => damaged(damaged(sound, 1), SECTORS - 1),
        "mbr unsigned" => with_mbr(sound, |mbr| mbr[510] = 0),
        "mbr without protective partition" => with_mbr(sound, |mbr| mbr[450] = 0x83),
        "mbr protects from sector 2" => with_mbr(sound, |mbr| mbr[454] = 2),
        "56 entries of 128" => shape(92, 56, 128),
        "64 entries of 256" => shape(92, 64, 256),
        "128 entries of 256" => shape(92, 128, 256),
        "header of 104" => shape(104, 128, 128),
        "header of a sector" => shape(sector, 128, 128),
        other => panic!("no such state: {other}"),
    }
}

/// Of the four writes by which GRUB spends a try those that reached the medium: backup header,
/// backup entries, primary header, primary entries.
fn written(pieces: &str, sector: usize) -> Vec<u8> {
    let (mut disk, new) = (before(sector), after(sector));
    let len = disk.len();
    let array = (128 * ENTRY).div_ceil(sector) * sector;
    for piece in pieces.split_whitespace() {
        let place = match piece {
            "bh" => len - sector..len,
            "be" => len - sector - array..len - sector,
            "ph" => sector..2 * sector,
            "pe" => 2 * sector..2 * sector + array,
            other => panic!("no such write: {other}"),
        };
        disk[place.clone()].copy_from_slice(&new[place]);
    }
    disk
}

/// Entries that our own commit lets the primary's header vouch for while its own change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    Backup,
    /// Behind the primary's own, in a gap that is zero otherwise.
    Spare,
}

/// As our own commit leaves it in steps 2 and 3: the primary's header names other entries, which
/// are new.
fn vouching(sector: usize, primary_entries: &[u8], other: Other) -> Vec<u8> {
    let mut disk = after(sector);
    let array = (128 * ENTRY).div_ceil(sector);
    let own = 2 * sector..(2 + array) * sector;
    let new = disk[own.clone()].to_vec();
    disk[own.clone()].copy_from_slice(&primary_entries[own]);
    let at = match other {
        Other::Backup => disk.len() / sector - 1 - array,
        Other::Spare => {
            disk = with_gap(&disk, sector);
            2 + array
        }
    };
    disk[at * sector..][..new.len()].copy_from_slice(&new);
    let header = &mut disk[sector..2 * sector];
    header[72..80].copy_from_slice(&u64::try_from(at).unwrap().to_le_bytes());
    if other == Other::Spare {
        // Where the primary's own sectors end, for as long as they reach so far.
        header[40..48].copy_from_slice(&u64::try_from(at + array).unwrap().to_le_bytes());
    }
    header[16..20].fill(0);
    let checksum = crate::image::crc32(&header[..USUAL.header]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk
}

fn with_mbr(mut disk: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut disk[..512]);
    disk
}

/// Which table these entries are.
fn which(entries: Option<Vec<u8>>) -> &'static str {
    let Some(entries) = entries else { return "-" };
    let found = (word_of(&entries, 3), word_of(&entries, 4));
    let [old, new] = words();
    match found {
        _ if found == old => "old",
        _ if found == new => "new",
        _ => "?",
    }
}

fn firmware_writes(disk: &[u8], sector: usize) -> &'static str {
    let writes = readers::firmware_writes(disk, sector);
    match writes.first() {
        None => "-",
        Some(write) if write.at == sector => "primary",
        Some(_) => "backup",
    }
}

fn end(disk: &[u8], sector: usize, firmware: Firmware, table: Table) -> String {
    match readers::power_on(&mut disk.to_vec(), sector, firmware, table) {
        Outcome::Boots(3) => "A".to_owned(),
        Outcome::Boots(_) => "B".to_owned(),
        Outcome::NoPartitions => "no partitions".to_owned(),
        Outcome::GrubStops => "GRUB stops".to_owned(),
        Outcome::NoKernel => "no kernel".to_owned(),
        Outcome::NoLoader => "no loader".to_owned(),
    }
}

/// What the slot loader's own code finds: no model.
fn slot_loader(disk: &[u8], sector: usize) -> Option<Vec<u8>> {
    let gpt = Gpt::read(&mut Recorder::new(disk.to_vec(), sector)).ok()?;
    let mut entries = vec![0; 4 * ENTRY];
    for partition in gpt.table().partitions().filter(|found| found.number.get() <= 4) {
        let at = (usize::try_from(partition.number.get()).unwrap() - 1) * ENTRY + 48;
        entries[at..at + 8].copy_from_slice(&partition.attributes.word().to_le_bytes());
    }
    Some(entries)
}

/// The columns behind the name, as the models have them.
fn row(disk: &[u8], sector: usize) -> Vec<String> {
    let seen = |reader| which(readers::entries(disk, sector, reader)).to_owned();
    let partitions = readers::grub::partitions(disk, sector).map_or("-", |_| "yes");
    vec![
        which(readers::grub::chooses_from(disk, sector)).to_owned(),
        partitions.to_owned(),
        seen(Reader::Linux),
        seen(Reader::LinuxGpt),
        seen(Reader::Uefi),
        firmware_writes(disk, sector).to_owned(),
        which(slot_loader(disk, sector)).to_owned(),
        end(disk, sector, Firmware::Bios, Table::Primary),
        end(disk, sector, Firmware::Bios, Table::Either),
        end(disk, sector, Firmware::Uefi, Table::Primary),
    ]
}

/// Names and columns of the table.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = STATES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('|').map(str::trim);
            (columns.next().unwrap(), columns.collect())
        })
        .collect()
}

/// Leaves the disk, and what the model of UEFI firmware makes of it.
fn export(directory: &Path, name: &str, disk: &[u8], sector: usize) {
    std::fs::write(directory.join(format!("{name}.img")), disk).unwrap();
    let mut repaired = disk.to_vec();
    for write in readers::firmware_writes(disk, sector) {
        readers::put(&mut repaired, &write);
    }
    std::fs::write(directory.join(format!("{name}.firmware")), repaired).unwrap();
}

#[test]
fn every_model_makes_of_a_disk_what_the_real_program_made_of_it() {
    let exported = std::env::var_os("GPT_STATES").map(PathBuf::from);
    let mut wrong = String::new();
    for sector in [512, 4096] {
        for (number, (name, expected)) in rows().into_iter().enumerate() {
            let disk = state(name, sector);
            if let Some(directory) = &exported {
                export(directory, &format!("{sector}-{number:02}"), &disk, sector);
            }
            let found = row(&disk, sector);
            if found != expected {
                writeln!(wrong, "{sector}: {name} | {}", found.join(" | ")).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "otherwise by the models:\n{wrong}");
}

#[test]
fn the_model_of_the_slot_loader_is_what_its_code_does() {
    for sector in [512, 4096] {
        for (name, _) in rows() {
            let disk = state(name, sector);
            let modelled = which(readers::entries(&disk, sector, Reader::SlotLoader));
            assert_eq!(which(slot_loader(&disk, sector)), modelled, "{sector}: {name}");
        }
    }
}

/// Whatever becomes of GRUB's four writes, in whatever order the disk makes them durable, a row
/// says what follows.
#[test]
fn every_loss_of_what_grub_writes_has_a_row() {
    let names: BTreeSet<&str> = rows().into_iter().map(|(name, _)| name).collect();
    for sector in [512, 4096] {
        let writes = readers::grub_writes(&before(sector), sector);
        assert_eq!(writes.len(), 4);
        for kept in 0..16 {
            let pieces = ["bh", "be", "ph", "pe"].into_iter().zip(&writes).enumerate();
            let mut disk = before(sector);
            let mut name = "wrote".to_owned();
            for (_, (piece, write)) in pieces.filter(|(nth, _)| kept >> nth & 1 == 1) {
                readers::put(&mut disk, write);
                write!(name, " {piece}").unwrap();
            }
            assert!(disk == state(&name, sector), "{sector}: {name}");
            assert!(kept == 0 || names.contains(name.as_str()), "{name}");
        }
    }
}
