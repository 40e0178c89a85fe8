//! Fuzz targets: for each input from outside one function that takes any bytes and asserts what
//! must hold of them. `tests/fuzz/run` has libFuzzer look for bytes that refute it.
//!
//! Without libFuzzer this is an ordinary crate of the workspace: it is compiled and linted with all
//! others, and its tests put the kept inputs (`corpus`) through every target. See
//! `docs/fuzzing.md`.
//!
//! A planted bug ([`Bug::Planted`]) is a fault of the harness, made between the product's answer
//! and the assertion. It shows that the fuzzer gets that deep and that the assertion can fail.

mod input;
mod targets;

pub use targets::TARGETS;

/// Whether a target's own fault is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// It isn't: what is asserted is of the product.
    None,
    /// It is: the target must fail.
    Planted,
}

impl Bug {
    /// Whether it is planted and `condition` holds.
    pub(crate) fn strikes(self, condition: bool) -> bool {
        self == Self::Planted && condition
    }
}

/// A target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and its directory below `corpus`.
    pub name: &'static str,
    /// What holds of all bytes.
    pub property: &'static str,
    /// Asserts it of these.
    pub check: fn(&[u8], Bug),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Bug, TARGETS};

    #[test]
    fn every_kept_input_has_the_property_of_its_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in TARGETS {
            let mut inputs = 0;
            for entry in std::fs::read_dir(corpus.join(target.name)).expect(target.name) {
                let path = entry.expect("an entry").path();
                println!("{}", path.display());
                (target.check)(&std::fs::read(&path).expect("an input"), Bug::None);
                inputs += 1;
            }
            assert!(inputs > 0, "{} has no kept input", target.name);
            (target.check)(&[], Bug::None);
        }
        super::targets::remove_scratch();
    }
}
