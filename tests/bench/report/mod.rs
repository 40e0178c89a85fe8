//! The results, for people, for programs, and as a picture.

mod markdown;
mod plot;

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Outcome;
use super::archives::{Archive, Archives};
use super::arguments::Arguments;
use super::bars::{self, Bar};
use super::contest::Row;
use super::figures::Figures;
use super::resident::Resident;

/// Everything that is told.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub image_bytes: u64,
    pub rounds: u32,
    pub contestants: Vec<Contestant>,
    pub artefacts: Vec<Artefact>,
    pub resident: Resident,
    pub bars: Vec<Bar>,
}

#[derive(Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_mib: u64,
    pub kernel: String,
}

#[derive(Serialize)]
pub struct Contestant {
    pub name: String,
    pub promise: String,
    pub download: u64,
    pub median: Figures,
    pub runs: Vec<Figures>,
}

#[derive(Serialize)]
pub struct Artefact {
    pub name: &'static str,
    pub bytes: u64,
    pub seconds: f64,
    pub peak_kib: u64,
}

impl Machine {
    pub fn this() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let memory = memory
            .split_whitespace()
            .next()
            .and_then(|kib| kib.parse::<u64>().ok());
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.unwrap_or(0) >> 10,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl Report {
    pub fn new(arguments: &Arguments, archives: &Archives, rows: Vec<Row>, resident: Resident) -> Self {
        let bars = bars::of(arguments.size, &rows, archives, &resident);
        let contestants = rows.into_iter().map(|row| Contestant {
            median: row.median(),
            name: row.name,
            promise: row.promise,
            download: row.download,
            runs: row.runs,
        });
        Self {
            machine: Machine::this(),
            image_bytes: arguments.size,
            rounds: arguments.rounds,
            contestants: contestants.collect(),
            artefacts: artefacts(archives),
            resident,
            bars,
        }
    }

    /// Writes `benchmark.md`, `benchmark.json` and `benchmark.svg` to `directory`.
    pub fn write(&self, directory: &Path) -> Outcome {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("benchmark.md"), markdown::of(self))?;
        fs::write(directory.join("benchmark.svg"), plot::of(self))?;
        let json = serde_json::to_string_pretty(self)? + "\n";
        Ok(fs::write(directory.join("benchmark.json"), json)?)
    }

    /// For the terminal.
    pub fn summary(&self) -> String {
        markdown::bars(&self.bars)
    }
}

fn artefacts(archives: &Archives) -> Vec<Artefact> {
    let one = |name, archive: &Archive| Artefact {
        name,
        bytes: archive.bytes,
        seconds: archive.seconds,
        peak_kib: archive.peak_kib,
    };
    let ours = [
        one("v1 payload", &archives.v1),
        one("v2 payload, zstd", &archives.v2),
        one("v2 delta", &archives.delta),
        one("v2 delta of the tests' pair", &archives.fixture),
    ];
    let theirs = [
        one("bzip2 -9, 1 MiB chunks, one core", &archives.bzip2),
        one("lbzip2 -9", &archives.lbzip2),
        one("zstd -12 -T0", &archives.zstd),
        one("RAUC bundle, zstd -9", &archives.rauc),
        one("SWUpdate archive (without its zstd)", &archives.swupdate),
    ];
    ours.into_iter().chain(theirs).collect()
}
