//! bzip2's CRC: polynomial 0x04c11db7, highest bit first.

use super::BunzipError;

/// Bytes that are taken at once.
const STEP: usize = 16;

/// What a byte adds, by how many bytes follow it.
static TABLES: [[u32; 256]; STEP] = tables();

const fn tables() -> [[u32; 256]; STEP] {
    let mut tables = [[0; 256]; STEP];
    let (mut byte, mut first) = (0, 0_u32);
    while byte < 256 {
        let mut crc = first;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 {
                crc << 1 ^ 0x04c1_1db7
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
        first = first.wrapping_add(1 << 24);
    }
    let mut follow = 1;
    while follow < STEP {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[follow - 1][byte];
            tables[follow][byte] = before << 8 ^ tables[0][(before >> 24) as usize];
            byte += 1;
        }
        follow += 1;
    }
    tables
}

/// The CRC of a block's bytes so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockCrc(u32);

impl Default for BlockCrc {
    fn default() -> Self {
        Self(!0)
    }
}

impl BlockCrc {
    /// Adds bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (steps, rest) = bytes.as_chunks::<STEP>();
        let mut crc = self.0;
        for step in steps {
            let mut step = *step;
            for (byte, before) in step.iter_mut().zip(crc.to_be_bytes()) {
                *byte ^= before;
            }
            crc = step
                .into_iter()
                .zip(TABLES.iter().rev())
                .fold(0, |crc, (byte, table)| crc ^ table[usize::from(byte)]);
        }
        for byte in rest {
            crc = crc << 8 ^ TABLES[0][usize::from(crc.to_be_bytes()[0] ^ byte)];
        }
        self.0 = crc;
    }

    pub(crate) const fn value(self) -> u32 {
        !self.0
    }
}

/// The CRC of a stream: that of its blocks' CRCs, so to speak.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Crc(u32);

impl Crc {
    pub(crate) const fn add_block(&mut self, block: u32) {
        self.0 = self.0.rotate_left(1) ^ block;
    }

    pub(crate) const fn value(self) -> u32 {
        self.0
    }

    pub(super) fn check_stream(self, expected: u32) -> Result<(), BunzipError> {
        check(self.0, expected)
    }
}

/// # Errors
/// [`BunzipError::Crc`].
pub(super) fn check(found: u32, expected: u32) -> Result<(), BunzipError> {
    if found == expected {
        return Ok(());
    }
    Err(BunzipError::Crc { found, expected })
}
