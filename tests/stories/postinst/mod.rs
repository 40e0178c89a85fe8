//! The image's own part in its installation, and programs run as units.

mod mounting;
mod program;
mod transient_units;
mod verdict;
