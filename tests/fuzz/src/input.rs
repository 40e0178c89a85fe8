//! The fuzzer's bytes as choices. All of them have a default once the bytes are used up, so that
//! every input is a case.

/// What is left of an input.
#[derive(Debug, Clone)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte; 0 at the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// One of two.
    pub(crate) fn is_odd(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A number of two bytes.
    pub(crate) fn short(&mut self) -> u16 {
        let high = u16::from(self.byte());
        high << 8 | u16::from(self.byte())
    }

    /// A number of eight bytes.
    pub(crate) fn long(&mut self) -> u64 {
        (0..4).fold(0, |number, _| number << 16 | u64::from(self.short()))
    }

    /// A number in `0..limit`, which is above 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        if limit <= 256 {
            usize::from(self.byte()) % limit
        } else {
            usize::from(self.short()) % limit
        }
    }

    /// One of these.
    pub(crate) fn one_of<'t, T>(&mut self, all: &'t [T]) -> &'t T {
        &all[self.below(all.len())]
    }

    /// The next `len` bytes, fewer at the end.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A short list of bytes whose length is its first byte.
    pub(crate) fn list(&mut self) -> &'a [u8] {
        let len = self.byte();
        self.bytes(len.into())
    }

    /// A short text of whatever characters the bytes are.
    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.list()).into_owned()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.bytes(self.0.len())
    }

    /// `len` bytes in a pattern of at most 8.
    pub(crate) fn pattern(&mut self, len: usize) -> Vec<u8> {
        let count = 1 + self.below(8);
        let pattern = self.bytes(count);
        let pattern = if pattern.is_empty() { &[0] } else { pattern };
        pattern.iter().copied().cycle().take(len).collect()
    }
}
