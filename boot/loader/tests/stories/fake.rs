//! A machine in memory whose disk, files and kernels fail where told.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use slot_loader::{Chipset, Machine, Sha256Digest};
use slots::{Disk, Geometry, SectorSize, SlotAttributes};

use crate::chipset::FakeChipset;
use crate::image;

/// Behaviour of the file that is a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// It takes the machine over.
    Runs,
    /// It starts and returns.
    GivesUp,
    /// The firmware doesn't load it.
    Refused,
    /// The file can't even be read.
    Unreadable,
}

/// How a power-on ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This kernel runs with these options.
    Runs(String, String),
    /// The loader ended, for a reason.
    Firmware(String),
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(&'static str);

/// A disk with a volatile cache: what isn't flushed is lost with the power.
pub(crate) struct Medium {
    pub(crate) live: Vec<u8>,
    pub(crate) durable: Vec<u8>,
    pub(crate) sector: u32,
    pub(crate) writable: bool,
    /// How many sectors the firmware says that there are, where it is wrong.
    pub(crate) said: Option<u64>,
}

impl Disk for Medium {
    type Error = Fault;

    fn geometry(&self) -> Geometry {
        Geometry {
            sector_size: SectorSize::new(self.sector).unwrap(),
            sectors: self
                .said
                .unwrap_or(u64::try_from(self.live.len()).unwrap() / u64::from(self.sector)),
        }
    }

    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let start = usize::try_from(lba * u64::from(self.sector)).unwrap();
        let found = self.live.get(start..start + buf.len());
        buf.copy_from_slice(found.ok_or(Fault("past the end"))?);
        Ok(())
    }

    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Fault> {
        if !self.writable {
            return Err(Fault("the disk is write-protected"));
        }
        let start = usize::try_from(lba * u64::from(self.sector)).unwrap();
        let place = self.live.get_mut(start..start + data.len());
        place.ok_or(Fault("past the end"))?.copy_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.durable.clone_from(&self.live);
        Ok(())
    }
}

/// Digest of every kernel.
pub(crate) const DIGEST: Sha256Digest = Sha256Digest([0x6b; 32]);

pub(crate) struct Fake {
    pub(crate) disk: Medium,
    pub(crate) kernels: BTreeMap<&'static str, Kernel>,
    pub(crate) command_line: Option<Vec<u8>>,
    /// Files that are neither.
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
    pub(crate) chipset: Option<FakeChipset>,
    pub(crate) console: String,
    /// The slots on the medium when a kernel file was first looked for.
    pub(crate) when_read: Option<[SlotAttributes; 2]>,
}

struct TakenOver(String, String);

impl Fake {
    /// A machine with kernels for both slots in `\flatcar`.
    pub(crate) fn new(disk: Vec<u8>, sector: u32) -> Self {
        Self {
            disk: Medium {
                durable: disk.clone(),
                live: disk,
                sector,
                writable: true,
                said: None,
            },
            kernels: [
                ("\\flatcar\\vmlinuz-a", Kernel::Runs),
                ("\\flatcar\\vmlinuz-b", Kernel::Runs),
            ]
            .into(),
            command_line: Some(b"usr=@PARTUUID@".to_vec()),
            files: BTreeMap::new(),
            chipset: Some(FakeChipset::q35()),
            console: String::new(),
            when_read: None,
        }
    }

    /// Runs the loader once; what wasn't flushed is lost at the end.
    pub(crate) fn power_on(&mut self) -> Outcome {
        let ended = catch_unwind(AssertUnwindSafe(|| slot_loader::boot(self)));
        self.disk.live.clone_from(&self.disk.durable);
        match ended {
            Ok(reason) => Outcome::Firmware(reason.to_string()),
            Err(payload) => match payload.downcast::<TakenOver>() {
                Ok(taken) => Outcome::Runs(taken.0, taken.1),
                Err(panic) => resume_unwind(panic),
            },
        }
    }

    /// Content of the medium, by an independent reader.
    pub(crate) fn slots(&self) -> [SlotAttributes; 2] {
        image::attributes(&self.disk.durable, self.disk.sector)
    }
}

impl Machine for Fake {
    type Disk = Medium;
    type Kernel = (String, String);
    type Error = Fault;

    fn disk(&mut self) -> &mut Medium {
        &mut self.disk
    }

    fn read(&mut self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Fault> {
        if path == "\\cmdline" {
            return Ok(self.command_line.clone());
        }
        if let Some(bytes) = self.files.get(path) {
            return Ok(Some(bytes[..bytes.len().min(limit)].to_vec()));
        }
        if self.when_read.is_none() && self.disk.writable {
            self.when_read = Some(self.slots());
        }
        match self.kernels.get(path) {
            Some(Kernel::Unreadable) => Err(Fault("bad sector")),
            found => Ok(found.map(|_| vec![b'k'; limit])),
        }
    }

    fn digest(&mut self, path: &str) -> Result<Sha256Digest, Fault> {
        match self.kernels.get(path) {
            Some(Kernel::Unreadable) | None => Err(Fault("bad sector")),
            Some(_) => Ok(DIGEST),
        }
    }

    fn chipset(&mut self) -> Option<&mut dyn Chipset> {
        Some(self.chipset.as_mut()?)
    }

    fn load(&mut self, path: &str, command_line: &str) -> Result<Self::Kernel, Fault> {
        match self.kernels.get(path) {
            Some(Kernel::Refused) => Err(Fault("not signed")),
            _ => Ok((path.into(), command_line.into())),
        }
    }

    fn start(&mut self, (path, command_line): Self::Kernel) -> Fault {
        if self.kernels[path.as_str()] == Kernel::GivesUp {
            return Fault("no memory");
        }
        resume_unwind(Box::new(TakenOver(path, command_line)))
    }

    fn say(&mut self, line: fmt::Arguments<'_>) {
        self.console.push_str(&line.to_string());
        self.console.push('\n');
    }
}
