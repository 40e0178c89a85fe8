//! The disk of a machine that runs the slot loader.

use slots::{Disk, Geometry, SectorSize};

use crate::device::Device;

/// Its disk. Calls are numbered, and each is told to a witness.
pub(super) struct Medium<'a> {
    pub(super) device: Device,
    pub(super) live: Vec<u8>,
    pub(super) sector: usize,
    pub(super) calls: usize,
    /// The write or flush that fails, and whether those after it do as well.
    pub(super) fails: Option<(usize, Lasting)>,
    pub(super) witness: &'a mut dyn FnMut(&Device, usize, &str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    Once,
    ForEver,
}

#[derive(Debug, thiserror::Error)]
#[error("input/output error")]
pub(super) struct Fault;

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
