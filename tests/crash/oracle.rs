//! What must hold after every cut, judged by the models of the programs that boot the node.

use update_engine::disk::{SlotDisk, SlotName};
use update_engine::fetch::Fetcher;

use crate::image::{ENTRY, is_good, is_selectable, place, set_word, word_of, write_table};
use crate::machine::State;
use crate::node::{Attempt, KERNEL_A, KERNEL_B, Node, fetcher};
use crate::payload::Payload;
use crate::readers::{self, READERS, Reader};
use crate::support::server::Server;

/// What a scenario starts from and leads to.
pub(crate) struct Truth {
    pub(crate) sector: usize,
    pub(crate) start: State,
    pub(crate) payload: Payload,
    /// Image and kernel that slot B held before.
    pub(crate) fallback: (Vec<u8>, Vec<u8>),
    /// Whether the attempt has to be refused: its cuts aren't followed by one that must succeed.
    pub(crate) refused: bool,
}

type Verdict = Result<(), String>;

impl Truth {
    fn entries(&self, disk: &[u8], reader: Reader) -> Option<Vec<u8>> {
        readers::entries(disk, self.sector, reader)
    }

    /// Readers that found a table before the update.
    fn able(&self) -> impl Iterator<Item = Reader> + '_ {
        let start = &self.start.disk;
        let able = move |reader: &Reader| self.entries(start, *reader).is_some();
        READERS.into_iter().filter(able)
    }

    /// Every reader finds a slot to boot, and whatever it could boot is whole.
    pub(crate) fn check(&self, state: &State) -> Verdict {
        self.untouched(state)?;
        for reader in self.able() {
            let entries = self.entries(&state.disk, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table"))?;
            self.check_entries(&entries, state)
                .map_err(|flaw| format!("{reader:?}: {flaw}"))?;
        }
        Ok(())
    }

    /// The running slot, its kernel, and everything on the disk that is neither slot B nor the table.
    fn untouched(&self, state: &State) -> Verdict {
        let start = &self.start;
        for number in [1, 2, 3, 6, 7, 9] {
            if state.disk[place(number)] != start.disk[place(number)] {
                return Err(format!("partition {number} has changed"));
            }
        }
        if state.files.get(KERNEL_A) != start.files.get(KERNEL_A) {
            return Err("the running kernel has changed".to_owned());
        }
        Ok(())
    }

    fn check_entries(&self, entries: &[u8], state: &State) -> Verdict {
        let known = self.entries(&self.start.disk, Reader::Uefi).unwrap();
        let but_attributes = |entries: &[u8]| {
            let mut entries = entries.to_vec();
            entries.chunks_mut(ENTRY).for_each(|entry| entry[48..56].fill(0));
            entries
        };
        if but_attributes(entries) != but_attributes(&known) {
            return Err("the partitions are others".to_owned());
        }
        readers::chosen(entries).ok_or("there is no slot to boot")?;
        if is_selectable(word_of(entries, 4)) && !self.slot_b_is_whole(state) {
            return Err("slot B can be booted and is not whole".to_owned());
        }
        Ok(())
    }

    fn slot_b_is_whole(&self, state: &State) -> bool {
        let kernel = self.payload.kernel.as_ref().or(self.start.files.get(KERNEL_A));
        let fallback = (&self.fallback.0, Some(&self.fallback.1));
        [(&self.payload.image, kernel), fallback]
            .into_iter()
            .any(|(image, kernel)| {
                state.disk[place(4)].starts_with(image) && state.files.get(KERNEL_B) == kernel
            })
    }

    fn is_updated(&self, state: &State) -> bool {
        let kernel = self.payload.kernel.as_ref().or(self.start.files.get(KERNEL_A));
        state.disk[place(4)].starts_with(&self.payload.image) && state.files.get(KERNEL_B) == kernel
    }

    /// What GRUB does: it repairs a damaged table, spends a try, and boots partition 3 or 4.
    fn boot(&self, disk: &mut [u8]) -> Result<u8, String> {
        let mut entries = self.entries(disk, Reader::Grub).ok_or("GRUB finds no table")?;
        let chosen = readers::chosen(&entries).ok_or("GRUB finds no slot")?;
        let chosen = u8::try_from(chosen).unwrap();
        let word = word_of(&entries, chosen);
        let tries = word >> 52 & 15;
        if tries > 0 {
            set_word(&mut entries, chosen, word - (1 << 52));
        }
        let mut without_primary = disk.to_vec();
        without_primary[self.sector..2 * self.sector].fill(0);
        let sound = self.entries(disk, Reader::Linux).as_ref() == Some(&entries)
            && self.entries(&without_primary, Reader::Uefi).is_some();
        if !sound {
            write_table(disk, self.sector, &entries);
        }
        Ok(chosen)
    }

    /// The next attempt or the new slot's daemon brought everything in order.
    fn check_end(&self, state: &State) -> Verdict {
        self.check(state)?;
        if !self.is_updated(state) {
            return Err("slot B is not what the payload says".to_owned());
        }
        for reader in READERS {
            let entries = self.entries(&state.disk, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table"))?;
            if readers::chosen(&entries) != Some(4) {
                return Err(format!("{reader:?} doesn't boot the new slot"));
            }
        }
        Ok(())
    }
}

/// Lives after cuts.
pub(crate) struct Afterlife<'a> {
    truth: &'a Truth,
    node: Node,
    runtime: tokio::runtime::Runtime,
    fetcher: Fetcher,
    server: Server,
}

impl<'a> Afterlife<'a> {
    pub(crate) fn new(truth: &'a Truth) -> Self {
        let server = Server::start();
        server.serve("p", truth.payload.bytes.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            truth,
            node: Node::new(),
            runtime: runtime.unwrap(),
            fetcher: fetcher(),
            server,
        }
    }

    /// Checks a state, then boots it and lets the update be finished.
    pub(crate) fn live(&self, state: &State) -> Verdict {
        self.truth.check(state)?;
        if self.truth.refused {
            return Ok(());
        }
        let mut booted = state.clone();
        match self.truth.boot(&mut booted.disk)? {
            3 => self.update_from_a(&booted),
            _ => self.settle_in_b(&booted),
        }
    }

    /// The old slot booted: the next attempt succeeds.
    fn update_from_a(&self, state: &State) -> Verdict {
        self.node.put(state);
        let (root, disk) = (self.node.root(), self.node.disk());
        let attempt = Attempt {
            root: &root,
            disk: &disk,
            url: self.server.url("p"),
            payload: &self.truth.payload.bytes,
        };
        let ended = self.runtime.block_on(attempt.run(self.fetcher.clone()));
        ended.map_err(|error| format!("the next attempt fails: {}", chain(&error)))?;
        let state = self.node.state();
        self.truth.check_end(&state)?;
        let entries = self.truth.entries(&state.disk, Reader::Linux).unwrap_or_default();
        match (is_good(word_of(&entries, 3)), word_of(&entries, 4) >> 52 & 31) {
            (true, 1) => Ok(()),
            _ => Err("the new slot is not on trial beside a good one".to_owned()),
        }
    }

    /// The new slot booted: it is whole, and can be marked good.
    fn settle_in_b(&self, state: &State) -> Verdict {
        if !self.truth.is_updated(state) {
            return Err("slot B boots without being the new image".to_owned());
        }
        self.node.put(state);
        let marked = SlotDisk::open(&self.node.disk(), SlotName::B).and_then(|disk| disk.mark_good());
        marked.map_err(|error| format!("the new slot can't be marked good: {}", chain(&error)))?;
        self.truth.check_end(&self.node.state())
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
