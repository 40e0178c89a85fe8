//! Lists of numbers as protobuf packs them: varints one after the other. They are read here, with a
//! limit, since a list of one-byte numbers takes four to eight times its length in memory.

use super::TablesError;

/// The numbers of a packed list, in order.
pub(super) struct Column<'a> {
    field: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Column<'a> {
    pub(super) const fn new(field: &'static str, bytes: &'a [u8]) -> Self {
        Self { field, bytes, at: 0 }
    }

    /// How many numbers: each ends with a byte below 128.
    pub(super) fn count(&self, limit: usize) -> Result<usize, TablesError> {
        let count = self.bytes.iter().filter(|byte| **byte < 0x80).count();
        if count > limit {
            return Err(TablesError::TooMany {
                field: self.field,
                limit,
            });
        }
        Ok(count)
    }

    /// The next number; 64 bits hold it.
    pub(super) fn number(&mut self) -> Result<u64, TablesError> {
        let broken = TablesError::Broken {
            field: self.field,
            at: self.at,
        };
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or_else(|| broken.clone())?;
            self.at += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(broken)
    }

    /// The next number, which lies between two others, these included.
    pub(super) fn bounded(&mut self, entry: usize, (min, max): (u32, u32)) -> Result<u32, TablesError> {
        let found = self.number()?;
        u32::try_from(found)
            .ok()
            .filter(|found| (min..=max).contains(found))
            .ok_or(TablesError::Range {
                field: self.field,
                entry,
                found,
                min: min.into(),
                max: max.into(),
            })
    }

    /// The next number, as `sint64` holds it.
    pub(super) fn signed(&mut self) -> Result<i64, TablesError> {
        let number = self.number()?;
        // Invariant: half of 64 bits fits 63.
        let half = i64::try_from(number >> 1).unwrap_or(i64::MAX);
        Ok(if number & 1 == 0 { half } else { -half - 1 })
    }
}

/// Lists of one table have as many entries.
pub(super) fn even(field: &'static str, found: usize, expected: usize) -> Result<(), TablesError> {
    if found == expected {
        return Ok(());
    }
    Err(TablesError::Uneven {
        field,
        found,
        expected,
    })
}

/// Appends a number.
pub(crate) fn put(column: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        column.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    column.push(number.to_le_bytes()[0]);
}

/// Appends a number, as `sint64` holds it.
pub(crate) fn put_signed(column: &mut Vec<u8>, number: i64) {
    put(
        column,
        (number.cast_unsigned() << 1) ^ (number >> 63).cast_unsigned(),
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 0..50)) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put(&mut bytes, *number);
            }
            let mut column = Column::new("numbers", &bytes);
            prop_assert_eq!(column.count(50), Ok(numbers.len()));
            for number in numbers {
                prop_assert_eq!(column.number(), Ok(number));
            }
            prop_assert!(column.number().is_err());
        }

        #[test]
        fn signed_numbers_come_back(number in any::<i64>()) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, number);
            prop_assert_eq!(Column::new("numbers", &bytes).signed(), Ok(number));
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert!(Column::new("numbers", &bytes).number().is_err());
        assert!(Column::new("numbers", &[0x80]).number().is_err());
    }
}
