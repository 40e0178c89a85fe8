//! The image's own part in its installation, and programs run as units.

mod image_look;
mod mounting;
mod program;
mod transient_units;
mod verdict;
