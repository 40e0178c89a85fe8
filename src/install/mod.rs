//! One update, from a taken offer to a slot that boots next.
//!
//! # Phases
//!
//! An attempt is a chain of values; each step consumes the one before it, so that no caller can
//! commit what was not verified, or verify what was not downloaded:
//!
//! ```text
//! Installer ──prepare────▶ Ready ──download──▶ Downloaded ──verify──▶ Verified ──postinstall──▶ Tested ──commit──▶ Committed
//!     keys, running slot good,  │                   re-read from         slot sealed, looked at,  highest priority,
//!     target free, /boot space  │                   the medium; kernel   script run               one try, re-read
//!                               │                                                               or `stage`: not bootable
//!                               ▼
//!          checks of the manifest ─ slot unbootable ─ first write … last write ─ sync ─ hash, signature
//! ```
//!
//! | instant | other slot | on failure |
//! |---|---|---|
//! | until the manifest passed its checks | as it was | nothing was changed |
//! | from then to `commit` | unbootable | stays unbootable |
//! | the script ran | whatever it set | made unbootable again |
//! | `commit` returned | boots next, once | – |
//! | `stage` returned | unbootable, and on record | – |
//!
//! The running slot is re-read and must be good before the other one is made unbootable: a slot on
//! trial is the only one that boots, and its fallback is not ours to overwrite.
//!
//! # The pipeline of `download`
//!
//! ```text
//!  runtime's thread          coordinator's thread                    workers (one per core, at most 4)
//!  fetch stream ──chunks──▶ payload reader ─▶ schedule ──jobs──▶ decode, write to the slot ──┐
//!      ▲   4 MiB ahead           ▲  │ manifest checks                                        │
//!      └───── permits ───────────┘  │                                                        │
//!                                ▲  └──▶ syncer's thread ──synced──┐                         │
//!                                └─────────── messages ◀───────────┴────────── done ◀────────┘
//! ```
//!
//! The coordinator alone owns the reader, the schedule and the checkpoint; the others send it
//! messages.
//!
//! - *Order.* Operations start in manifest order. One that reads or writes a block which an
//!   operation in flight writes, or writes one that it reads, waits for it; everything else runs
//!   side by side.
//! - *Memory.* An operation is charged for its data and for the buffers that decoding it takes,
//!   before it starts. What is in flight stays, with the manifest, below [`Pace::memory`]; one
//!   operation that exceeds it alone runs alone. Large data is not even read before there is room
//!   for it, and never more than 16 MiB of one operation.
//! - *Reading back.* After each sync, what no later operation writes is read back from the medium
//!   by one more thread. `verify` reads the rest.
//! - *Dirty data.* The slot is synced every [`Pace::bytes`] and dropped from the page cache, so
//!   that neither a burst of write-back nor a cold cache disturbs the node.
//!
//! - *Claims.* The coordinator's thread, and with it all that it starts, claims processor and disk
//!   with [`Pace::priority`]; the thread that verifies, too. While the node is under pressure,
//!   operations wait ([`Pace::pressure`]).
//!
//! # Checkpoints
//!
//! A checkpoint says: every operation below `n` is on the medium; here are the reader's place and
//! hash state after operation `n - 1`. It is taken in three steps, and only the last makes it
//! count: the reader passes operation `n - 1` and its state is copied; all operations below `n`
//! finish; the slot is synced and the record replaced atomically. Work goes on meanwhile.
//!
//! After a restart, operations from `n` on run again. That is harmless where they read only the old
//! slot, or what operations from `n` on write. A v1 delta may also overwrite a block of the
//! *target* that an earlier operation reads from there:
//!
//! - an operation that overwrites what an operation at or above `n` reads from the target waits
//!   until a checkpoint lies between the two;
//! - an operation that overwrites what it reads from the target itself can't be repeated once
//!   begun: the checkpoint is withdrawn before it starts, and a cut before the next one starts
//!   over.
//!
//! # Extra partitions
//!
//! Payloads of version 2 may bring extra partitions, where configuration has a pair for them: see
//! [`crate::disk::PartitionPair`]. All said of the slot's bytes holds for theirs. One that a
//! payload leaves out stays as it is, unless an attempt at another payload has torn it: then it
//! becomes a copy of the running slot's.
//!
//! # Content payloads
//!
//! Where the plan names a content package, `download` tries that first (see `content`). It leaves no
//! checkpoint, and whatever fails in it, the payload is downloaded as if there were none. What an
//! earlier attempt has saved of the payload is gone on with before.
//!
//! What must not happen here: a write to the running slot, a write to the other one while it is
//! bootable, a file as large as a payload.

mod attempt;
mod content;
mod dirty_partitions;
mod error;
mod extensions;
mod image_check;
mod image_facts;
mod kernel;
mod manifest_checks;
mod pace;
mod phases;
mod pipeline;
mod postinstall;
mod preflight;
mod preflight_result;
mod read_back;
mod saved;
mod schedule;
mod slots;
mod staged_image;
mod targets;
mod tested;
mod unbootable;

pub use attempt::Site;
pub use content::ContentLog;
pub use error::{InstallError, Voucher};
pub use image_facts::{ImageFacts, LOOKER};
pub use kernel::KernelError;
pub use pace::Pace;
pub use phases::{Downloaded, Installer, Ready, Verified};
pub use postinstall::{
    CONFINED_RUNNER, END_OF_SHOWN, NO_SCRIPT, PostinstError, PostinstMode, PostinstOutcome, RUNNER,
};
pub use preflight_result::{EXTENSION_LOOK, PAYLOAD_LOOK, PreflightResult, PreflightVerdict, SLOT_LOOK};
pub use slots::Slots;
pub use staged_image::{StagedImage, read_image, read_kernel, read_kernel_until};
pub use tested::Tested;
