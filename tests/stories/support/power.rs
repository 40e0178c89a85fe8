//! Power that fails: a slot whose writes are lost, torn or kept at random unless they were synced.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use update_engine::disk::{BlockTarget, DiskError, OwnDisk, Sealed, SlotDisk, SlotName};
use update_engine::install::Slots;

const SECTOR: usize = 512;

/// A disk whose power fails at the `n`th write or sync of the target slot. Until the supply is back
/// (the disk is opened anew), everything fails; files of the state directory are kept as they were
/// then.
pub struct FailingDisk {
    disk: SlotDisk,
    supply: Arc<Supply>,
}

pub struct Supply {
    /// Writes and syncs until the power fails.
    left: AtomicUsize,
    /// Decides what becomes of unsynced sectors.
    seed: u64,
    state: PathBuf,
}

impl FailingDisk {
    pub fn new(disk: SlotDisk, after: usize, seed: u64, state: PathBuf) -> Self {
        let left = AtomicUsize::new(after);
        Self {
            disk,
            supply: Arc::new(Supply { left, seed, state }),
        }
    }

    pub fn supply(&self) -> Arc<Supply> {
        Arc::clone(&self.supply)
    }
}

impl Supply {
    /// Writes and syncs that the power would still have been there for.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }

    fn snapshot(&self) -> PathBuf {
        self.state.with_extension("at-the-cut")
    }

    /// Puts the state directory back as the cut left it: a process without power can't tidy up.
    pub fn restore(&self) {
        if self.snapshot().exists() {
            fs::remove_dir_all(&self.state).unwrap_or_default();
            fs::rename(self.snapshot(), &self.state).unwrap();
        }
    }

    /// Counts one write or sync. At the last one `lose` is told to lose what isn't durable.
    fn draw(&self, lose: impl FnOnce()) -> io::Result<()> {
        match self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        {
            Ok(1) => {
                copy_files(&self.state, &self.snapshot());
                lose();
                Err(io::Error::other("the power failed"))
            }
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("there is no power")),
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).into_iter().flatten() {
        let file = file.unwrap();
        match fs::copy(file.path(), to.join(file.file_name())) {
            // Another thread has just put it in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
}

impl Slots for FailingDisk {
    fn running(&self) -> SlotName {
        self.disk.running()
    }

    fn require_running_good(&self, target: SlotName) -> Result<(), DiskError> {
        self.disk.require_running_good(target)
    }

    fn withdraw_and_make_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.make_unbootable(slot)
    }

    fn make_next(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.make_next(slot)
    }

    fn open_target(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        let medium = self.disk.open_target(slot)?;
        let mut live = vec![0; usize::try_from(medium.len()).unwrap()];
        medium.read_at(&mut live, 0).unwrap();
        Ok(Arc::new(FailingSlot {
            medium,
            supply: Arc::clone(&self.supply),
            state: Mutex::new(State {
                live,
                unsynced: Vec::new(),
            }),
        }))
    }

    fn open_source(&self, slot: SlotName) -> Result<Arc<dyn BlockTarget>, DiskError> {
        self.disk.open_source(slot)
    }

    fn seal(&self, slot: SlotName) -> Result<Sealed, DiskError> {
        Slots::seal(&self.disk, slot)
    }

    fn require_unbootable(&self, slot: SlotName) -> Result<(), DiskError> {
        self.disk.require_unbootable(slot)
    }

    fn own_disk(&self) -> Result<OwnDisk, DiskError> {
        self.disk.own_disk()
    }
}

struct FailingSlot {
    medium: Arc<dyn BlockTarget>,
    supply: Arc<Supply>,
    state: Mutex<State>,
}

/// What the cache holds, and which parts of it the medium doesn't.
struct State {
    live: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl State {
    /// Of each unsynced sector, the medium has or hasn't got the content.
    fn lose(&mut self, medium: &dyn BlockTarget, mut random: u64) {
        for (at, bytes) in self.unsynced.drain(..) {
            for (nth, sector) in bytes.chunks(SECTOR).enumerate() {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                if random >> 63 == 0 {
                    medium.write_at(sector, (at + nth * SECTOR) as u64).unwrap();
                }
            }
        }
    }
}

impl BlockTarget for FailingSlot {
    fn len(&self) -> u64 {
        self.medium.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.state.lock().unwrap().live[at..at + buf.len()]);
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        state.live[at..at + buf.len()].copy_from_slice(buf);
        // The write that the power fails in may be on the medium in part, like those before.
        state.unsynced.push((at, buf.to_vec()));
        self.supply.draw(|| state.lose(&*self.medium, self.supply.seed))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        self.supply.draw(|| state.lose(&*self.medium, self.supply.seed))?;
        for (at, bytes) in state.unsynced.drain(..) {
            self.medium.write_at(&bytes, at as u64)?;
        }
        Ok(())
    }

    fn forget(&self, _: u64, _: u64) {}
}
