//! GUIDs as GPT stores them: the first three fields little-endian, the rest as written.

use core::fmt;

/// A GUID in its on-disk byte order. Displays as lower case with dashes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

impl Guid {
    /// All zero: the type of an unused entry.
    pub const UNUSED: Self = Self([0; 16]);
    /// Type of Flatcar's USR slots (`flatcar-rootfs`, `coreos-usr`).
    pub const FLATCAR_USR: Self = Self::new(
        0x5dfb_f5f4,
        0x2848,
        0x4bac,
        [0xaa, 0x5e, 0x0d, 0x9a, 0x20, 0xb7, 0x45, 0xa6],
    );

    /// PARTUUID of slot A in Flatcar's images, the same on every disk.
    pub const FLATCAR_USR_A: Self = Self::new(
        0x7130_c94a,
        0x213a,
        0x4e5a,
        [0x8e, 0x26, 0x6c, 0xce, 0x96, 0x62, 0xf1, 0x32],
    );
    /// PARTUUID of slot B in Flatcar's images, the same on every disk.
    pub const FLATCAR_USR_B: Self = Self::new(
        0xe03d_d35c,
        0x7c2d,
        0x4a47,
        [0xb3, 0xfe, 0x27, 0xf1, 0x57, 0x80, 0xa5, 0x7c],
    );

    /// From the five groups of the text form; the last two are one array.
    #[must_use]
    pub const fn new(a: u32, b: u16, c: u16, rest: [u8; 8]) -> Self {
        let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), rest);
        Self([
            a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7],
        ])
    }

    /// From the bytes as they lie on disk.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they lie on disk.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        for (position, index) in ORDER.into_iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[index])?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guid({self})")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_text_form_is_the_one_tools_print() {
        assert_eq!(
            Guid::FLATCAR_USR.to_string(),
            "5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6"
        );
        assert_eq!(Guid::FLATCAR_USR.to_bytes()[..4], [0xf4, 0xf5, 0xfb, 0x5d]);
    }
}
