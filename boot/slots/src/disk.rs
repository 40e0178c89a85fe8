//! The seam to the medium.

/// Size of a logical sector in bytes: a power of two from 512 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorSize(u32);

impl SectorSize {
    /// 512 bytes.
    pub const B512: Self = Self(512);
    /// 4096 bytes.
    pub const B4096: Self = Self(4096);

    /// `bytes` as sector size, if a GPT disk may have it.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes >= 512 && bytes <= 4096 && bytes.is_power_of_two() {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// In bytes, for lengths in memory.
    #[must_use]
    pub const fn in_memory(self) -> usize {
        self.0 as usize
    }
}

/// How large a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Size of one sector.
    pub sector_size: SectorSize,
    /// Number of sectors.
    pub sectors: u64,
}

/// A disk as a row of sectors. Fakes inject crashes and faults here.
pub trait Disk {
    /// What the medium says when it fails.
    type Error: core::error::Error + 'static;

    /// Size of the disk; constant while this value lives.
    fn geometry(&self) -> Geometry;

    /// Fills `buf`, a whole number of sectors, from `lba` on: what the medium holds, not what a
    /// cache remembers.
    ///
    /// # Errors
    /// Whatever the medium says.
    fn read(&mut self, lba: u64, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes `data`, a whole number of sectors, at `lba`; passed down as one request where the
    /// medium can. Not durable before [`Self::flush`], and in no order with other writes since the
    /// last flush.
    ///
    /// # Errors
    /// Whatever the medium says; the sectors may then hold old or new bytes.
    fn write(&mut self, lba: u64, data: &[u8]) -> Result<(), Self::Error>;

    /// Returns once everything written is on the medium, the disk's own cache included.
    ///
    /// # Errors
    /// Whatever the medium says; nothing written since the last success may be trusted.
    fn flush(&mut self) -> Result<(), Self::Error>;
}
