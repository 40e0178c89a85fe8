//! Streams as no encoder writes them, and repairs of damaged ones.

use super::super::crc::BlockCrc;
use super::super::{BLOCK, BunzipError, END};
use super::unpack;

/// A block to be written.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Its text: after four equal bytes comes one that says how many more there are, or what is
    /// wanted instead.
    pub(super) text: Vec<u8>,
    /// Bytes below this are part of the alphabet, whether they occur or not.
    pub(super) alphabet: u8,
    /// The lengths of the codes of symbols that don't occur, as far as they are longer than those
    /// that do.
    pub(super) spare: Vec<u8>,
    /// Added to where the text begins.
    pub(super) shift: usize,
    /// Groups of symbols that are announced and don't come.
    pub(super) groups: usize,
}

impl Draft {
    /// A block of `text` without anything odd about it.
    pub(super) fn of(text: &[u8]) -> Self {
        Self {
            text: text.to_vec(),
            alphabet: 0,
            spare: Vec::new(),
            shift: 0,
            groups: 0,
        }
    }
}

/// Bits, the highest of each byte first.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    len: usize,
}

impl Writer {
    fn put(&mut self, value: u64, count: u32) {
        for bit in (0..count).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> bit & 1 == 1);
            *self.bytes.last_mut().unwrap() |= bit << (7 - self.len % 8);
            self.len += 1;
        }
    }
}

/// One stream of blocks whose limit is `level` times 100,000 bytes.
pub(super) fn stream(level: u8, blocks: &[Draft]) -> Vec<u8> {
    let mut out = Writer::default();
    for byte in [b'B', b'Z', b'h', b'0' + level] {
        out.put(byte.into(), 8);
    }
    let mut whole = 0_u32;
    for block in blocks {
        let crc = crc(&block.text);
        whole = whole.rotate_left(1) ^ crc;
        out.put(BLOCK, 48);
        out.put(crc.into(), 32);
        put_block(&mut out, block);
    }
    out.put(END, 48);
    out.put(whole.into(), 32);
    out.bytes
}

/// Of what the text stands for.
fn crc(text: &[u8]) -> u32 {
    let (mut crc, mut run, mut last) = (BlockCrc::default(), 0, None);
    for byte in text {
        if run == 4 {
            crc.update(&vec![last.unwrap(); (*byte).into()]);
            run = 0;
            continue;
        }
        run = if last == Some(*byte) { run + 1 } else { 1 };
        last = Some(*byte);
        crc.update(&[*byte]);
    }
    crc.value()
}

fn put_block(out: &mut Writer, block: &Draft) {
    let text = &block.text;
    let mut rotations: Vec<usize> = (0..text.len()).collect();
    rotations.sort_by_key(|start| [&text[*start..], &text[..*start]].concat());
    let start = rotations.iter().position(|rotation| *rotation == 0).unwrap_or(0);
    let sorted = rotations
        .iter()
        .map(|start| text[(start + text.len() - 1) % text.len()]);

    let is_used = |byte: &u8| *byte < block.alphabet || text.contains(byte);
    let alphabet: Vec<u8> = (0..=255).filter(is_used).collect();
    let symbols = symbols(sorted, &alphabet);

    out.put(0, 1);
    out.put((start + block.shift) as u64, 24);
    put_alphabet(out, &alphabet);
    out.put(2, 3);
    let groups = symbols.len().div_ceil(50) + block.groups;
    out.put(groups as u64, 15);
    // All use the first code.
    for _ in 0..groups {
        out.put(0, 1);
    }
    let codes = codes(&symbols, alphabet.len() + 2, &block.spare);
    for _ in 0..2 {
        put_lengths(out, &codes);
    }
    for symbol in symbols {
        let (code, length) = codes[symbol];
        out.put(code, length.into());
    }
}

fn put_alphabet(out: &mut Writer, alphabet: &[u8]) {
    let bytes_of = |high: u8| alphabet.iter().filter(move |byte| **byte >> 4 == high);
    for high in 0..16 {
        out.put(u64::from(bytes_of(high).next().is_some()), 1);
    }
    for high in (0..16).filter(|high| bytes_of(*high).next().is_some()) {
        for low in 0..16 {
            out.put(alphabet.contains(&(high << 4 | low)).into(), 1);
        }
    }
}

/// Ranks of a list that is moved to front, runs of the first as digits, and the end.
fn symbols(sorted: impl Iterator<Item = u8>, alphabet: &[u8]) -> Vec<usize> {
    let (mut list, mut symbols, mut run) = (alphabet.to_vec(), Vec::new(), 0_usize);
    let end_run = |symbols: &mut Vec<usize>, run: &mut usize| {
        while *run > 0 {
            let digit = if *run % 2 == 1 { 1 } else { 2 };
            symbols.push(digit - 1);
            *run = (*run - digit) / 2;
        }
    };
    for byte in sorted {
        let rank = list.iter().position(|known| *known == byte).unwrap();
        if rank == 0 {
            run += 1;
            continue;
        }
        end_run(&mut symbols, &mut run);
        symbols.push(rank + 1);
        list[..=rank].rotate_right(1);
    }
    end_run(&mut symbols, &mut run);
    symbols.push(alphabet.len() + 1);
    symbols
}

/// Code and length of each symbol. Those that occur have codes of one length.
fn codes(symbols: &[usize], count: usize, spare: &[u8]) -> Vec<(u64, u8)> {
    let mut is_used = vec![false; count];
    for symbol in symbols {
        is_used[*symbol] = true;
    }
    // Room for one more is room for all that don't occur, unless their codes are to be short.
    let needed = is_used.iter().filter(|is_used| **is_used).count() + usize::from(spare.is_empty());
    let width = u8::try_from(needed.next_power_of_two().trailing_zeros().max(1)).unwrap();
    let mut spare = spare.iter().copied().chain(std::iter::repeat(20));
    let lengths = is_used.iter().map(|is_used| match is_used {
        true => width,
        false => spare.next().unwrap().clamp(width + 1, 20),
    });
    let mut codes: Vec<(u64, u8)> = lengths.map(|length| (0, length)).collect();
    let mut code = 0;
    for length in 1..=20 {
        for (place, _) in codes.iter_mut().filter(|(_, own)| *own == length) {
            *place = code;
            code += 1;
        }
        code <<= 1;
    }
    codes
}

fn put_lengths(out: &mut Writer, codes: &[(u64, u8)]) {
    let mut length = codes[0].1;
    out.put(length.into(), 5);
    for (_, own) in codes {
        while length != *own {
            out.put(if length < *own { 0b10 } else { 0b11 }, 2);
            length = if length < *own { length + 1 } else { length - 1 };
        }
        out.put(0, 1);
    }
}

/// The same with CRCs of what comes out: else hardly any damage would be seen by more than the CRC.
pub(super) fn with_right_crcs(mut packed: Vec<u8>) -> Vec<u8> {
    // One for each block and the stream's.
    for _ in 0..8 {
        let Err(BunzipError::Crc { found, expected }) = unpack(&packed) else {
            break;
        };
        let Some(at) = crc_at(&packed, expected) else {
            break;
        };
        for bit in 0..32 {
            let (byte, mask) = ((at + bit) / 8, 0x80 >> ((at + bit) % 8));
            packed[byte] &= !mask;
            packed[byte] |= if found >> (31 - bit) & 1 == 1 { mask } else { 0 };
        }
    }
    packed
}

/// The bit where the CRC stands, behind the beginning of a block or of the end.
fn crc_at(packed: &[u8], crc: u32) -> Option<usize> {
    let mut window = 0_u128;
    let bits = packed
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    bits.enumerate().find_map(|(at, bit)| {
        window = (window << 1 | u128::from(bit)) & ((1 << 80) - 1);
        [BLOCK, END]
            .contains(&u64::try_from(window >> 32).unwrap())
            .then_some(at + 1)
            .filter(|end| *end >= 80 && window & u128::from(u32::MAX) == u128::from(crc))
            .map(|end| end - 32)
    })
}
