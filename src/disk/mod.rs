//! The hardware boundary: block targets, the GPT of the disk that holds the running slot, boot
//! attributes.
//!
//! ```text
//!  Host ──▶ discovery ──▶ disk, number of the running partition
//!      (mountinfo: /usr, overlays aside → device-mapper → sysfs)  SlotDisk::open (image or device named)
//!                                    │                                        │
//!                                    ▼                                        ▼
//!            SlotDisk ── layout: which partitions are the slots (type, then label or PARTUUID)
//!             │    │
//!             │    └── edits of attributes: lock ──▶ medium ──▶ slots::Gpt (both copies, ordered writes)
//!             └─────── FileTarget: a slot's bytes · Sealed: a slot nobody writes
//! ```
//! Which slot runs is what is mounted; the command line of the kernel can only object. Slots are
//! looked up on the disk of the running slot alone: Flatcar's PARTUUIDs are the same on every disk.
//! Nothing about the table is remembered between calls but where the slots lie; a slot that moved
//! is refused.

mod command_line;
mod discovery;
mod dummy_disk;
mod error;
mod held_slot;
mod ioctl;
mod kernel;
mod lock;
mod medium;
mod mountinfo;
mod own_disk;
mod per_slot;
mod priority;
mod sealed;
mod slot;
mod slot_disk;
mod sysfs;
mod target;

pub use discovery::overlay_layers;
pub use dummy_disk::DummyDisk;
pub use error::{DiscoveryError, DiskError};
pub use held_slot::HeldSlot;
pub(crate) use ioctl::give_back_free_memory;
pub use ioctl::share_one_heap;
pub(crate) use ioctl::{disable_watchdog, feed_watchdog, set_watchdog_timeout};
pub use kernel::{absent_kernel, kernel_path, missing_kernel};
pub use lock::Holder;
pub use own_disk::{ForeignError, OwnDisk};
pub use per_slot::{OpenPair, PairError, PartitionPair};
pub use priority::Priority;
pub use sealed::Sealed;
pub use slot::{LayoutError, SlotName};
pub use slot_disk::{BootRisk, GivenUp, Marked, SlotDisk, SlotRow, WentBack};
pub use slots::SlotAttributes;
pub use sysfs::Guard;
pub use target::{BlockTarget, FileTarget};
