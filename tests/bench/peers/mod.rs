//! What we are measured against. How each is run is what its documentation says; nothing is held
//! back.

mod pipes;
mod rauc;
mod swupdate;

pub use pipes::pipes;
pub use rauc::Rauc;
pub use swupdate::Swupdate;

use super::Outcome;
use super::figures::Figures;

/// Somebody who installs the image.
pub trait Contestant {
    fn name(&self) -> &str;

    /// Bytes that a node has to download for it.
    fn download(&self) -> u64;

    /// What it does beyond writing the image.
    fn promise(&self) -> &str;

    /// Installs once, everything synced.
    fn install(&mut self) -> Outcome<Figures>;
}
