//! Random numbers, handed in from outside.

/// Feeds one decision: equal seeds decide equally. Draw a fresh one from the system for each decision;
/// it keeps thousands of machines from asking at once and guards no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A number from `-radius` to `radius`, all about equally likely.
    pub(super) fn within(self, radius: u32) -> i64 {
        let width = 2 * u64::from(radius) + 1;
        // The remainder is below 2^33, so it fits; the bias of a remainder by so small a number is nil.
        let drawn = i64::try_from(self.mixed() % width).unwrap_or_default();
        drawn - i64::from(radius)
    }

    /// The finalizer of `SplitMix64`: neighbouring seeds give unrelated numbers.
    fn mixed(self) -> u64 {
        let mut x = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}
