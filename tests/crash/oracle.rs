//! What must hold after every cut, judged by the models of the programs that boot the node.

use update_engine::disk::SlotName;
use update_engine::engine::{DiskChoice, Settings, Updater as _};
use update_engine::fetch::Fetcher;
use update_engine::host::Host;
use update_engine::install::PostinstMode;
use update_engine::journal::AttemptFields;

use crate::extensions;
use crate::image::{ENTRY, is_good, is_selectable, place, word_of};
use crate::loader;
use crate::machine::State;
use crate::memory::{Memory, Moment, Told};
use crate::node::{Attempt, CONTENT, KERNEL_A, KERNEL_B, Node, OEM_A, OEM_B, fetcher};
use crate::payload::{OEM_TAIL, Payload};
use crate::readers::{self, Firmware, Outcome, READERS, Reader, Table};
use crate::slot_b::Held;
use crate::story::{CHECK, Story};
use test_support::server::Server;

/// What a scenario starts from and leads to.
pub(crate) struct Truth {
    pub(crate) sector: usize,
    pub(crate) start: State,
    pub(crate) payload: Payload,
    /// What slot B holds after the update.
    pub(crate) updated: Held,
    /// What it held before; the same, if a story begins after the update.
    pub(crate) fallback: Held,
    /// Whether the attempt has to be refused: its cuts aren't followed by one that must succeed.
    pub(crate) refused: bool,
    /// What the daemon lives through; none if only the installer does.
    pub(crate) story: Option<Story>,
    /// Readers that find a table at the start.
    pub(crate) able: Vec<Reader>,
    /// Machines whose loader is GRUB that come up at the start.
    pub(crate) platforms: Vec<Platform>,
    /// The entries at the start, without attributes.
    pub(crate) partitions: Vec<u8>,
}

type Verdict = Result<(), String>;

/// A machine whose loader is GRUB: its firmware, and where its Linux looks for a table.
pub(crate) type Platform = (Firmware, Table);

pub(crate) const PLATFORMS: [Platform; 4] = [
    (Firmware::Bios, Table::Primary),
    (Firmware::Bios, Table::Either),
    (Firmware::Uefi, Table::Primary),
    (Firmware::Uefi, Table::Either),
];

/// The machines on which `disk` comes up.
pub(crate) fn platforms(disk: &[u8], sector: usize) -> Vec<Platform> {
    let comes_up = |&(firmware, table): &Platform| {
        let ended = readers::power_on(&mut disk.to_vec(), sector, firmware, table);
        matches!(ended, Outcome::Boots(_))
    };
    PLATFORMS.into_iter().filter(comes_up).collect()
}

/// Readers that find a table on `disk`, and its entries without attributes.
pub(crate) fn readable(disk: &[u8], sector: usize) -> (Vec<Reader>, Vec<u8>) {
    let found = |reader: &Reader| readers::entries(disk, sector, *reader).is_some();
    let entries = readers::entries(disk, sector, Reader::Uefi).unwrap();
    (
        READERS.into_iter().filter(found).collect(),
        without_attributes(entries),
    )
}

fn without_attributes(mut entries: Vec<u8>) -> Vec<u8> {
    entries.chunks_mut(ENTRY).for_each(|entry| entry[48..56].fill(0));
    entries
}

impl Truth {
    /// The same from `start`, where the partition beside slot B is torn: an update that doesn't
    /// bring it has to copy the running one's.
    pub(crate) fn with_torn_partition(mut self, start: State) -> Self {
        self.updated.oem.clone_from(&start.files[OEM_A]);
        Self { start, ..self }
    }

    fn entries(&self, disk: &[u8], reader: Reader) -> Option<Vec<u8>> {
        readers::entries(disk, self.sector, reader)
    }

    /// Every reader finds a slot to boot, and whatever it could boot is whole.
    pub(crate) fn check(&self, state: &State) -> Verdict {
        self.untouched(state)?;
        for &reader in &self.able {
            let entries = self.entries(&state.disk, reader);
            let entries = entries.ok_or(format!("{reader:?} finds no table"))?;
            self.check_entries(&entries, state)
                .map_err(|flaw| format!("{reader:?}: {flaw}"))?;
        }
        for &platform in &self.platforms {
            self.power_on(&mut state.disk.clone(), platform)?;
        }
        Ok(())
    }

    /// The running slot, its kernel, and everything on the disk that is neither slot B nor the
    /// table.
    fn untouched(&self, state: &State) -> Verdict {
        let start = &self.start;
        let fills_b = self.story.is_none_or(Story::fills_b);
        for number in [1, 2, 3, 4, 6, 7, 9]
            .into_iter()
            .filter(|number| *number != 4 || !fills_b)
        {
            if state.disk[place(number)] != start.disk[place(number)] {
                return Err(format!("partition {number} has changed"));
            }
        }
        let own = [KERNEL_A, OEM_A].into_iter();
        for file in own.chain([KERNEL_B, OEM_B].into_iter().filter(|_| !fills_b)) {
            if state.files.get(file) != start.files.get(file) {
                return Err(format!("{file} has changed"));
            }
        }
        if !state.files[OEM_B].ends_with(&OEM_TAIL) {
            return Err(format!("{OEM_B} has changed behind its image"));
        }
        Ok(())
    }

    fn check_entries(&self, entries: &[u8], state: &State) -> Verdict {
        if without_attributes(entries.to_vec()) != self.partitions {
            return Err("the partitions are others".to_owned());
        }
        readers::chosen(entries).ok_or("there is no slot to boot")?;
        let is_selectable = is_selectable(word_of(entries, 4));
        if is_selectable && !self.slot_b_is_whole(state) {
            return Err("slot B can be booted and is not whole".to_owned());
        }
        let holds = || extensions::Holds::of(self.updated.is_in(state));
        extensions::check(&self.start, state, is_selectable.then(holds))
    }

    fn slot_b_is_whole(&self, state: &State) -> bool {
        self.updated.is_in(state) || self.fallback.is_in(state)
    }

    /// Firmware, GRUB and Linux: from which slot, 3 or 4, the machine comes up, and what they leave
    /// of the disk.
    fn power_on(&self, disk: &mut [u8], (firmware, table): Platform) -> Result<u8, String> {
        match readers::power_on(disk, self.sector, firmware, table) {
            Outcome::Boots(slot) => Ok(u8::try_from(slot).unwrap()),
            other => Err(format!("{firmware:?}, Linux looks in {table:?}: {other:?}")),
        }
    }

    /// Which loader decides how the table looks, and on what machine: each has a share of the
    /// states. The slot it boots.
    fn boot(&self, state: &State) -> Result<(u8, Vec<u8>), String> {
        let bytes = state.disk[place(4)].iter();
        let share = usize::from(bytes.fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        let mut disk = state.disk.clone();
        if share.is_multiple_of(2) {
            let slot = self.power_on(&mut disk, self.platforms[share / 2 % self.platforms.len()])?;
            return Ok((slot, disk));
        }
        // Not all firmware repairs.
        if share % 4 == 1 {
            for write in readers::firmware_writes(&state.disk, self.sector) {
                readers::put(&mut disk, &write);
            }
        }
        let booted = loader::boot(&disk, self.sector)?;
        Ok((booted.slot, booted.disk))
    }

    /// The next attempt or the new slot's daemon brought everything in order.
    fn check_end(&self, state: &State) -> Verdict {
        self.check(state)?;
        if !self.updated.is_in(state) {
            return Err("slot B is not what the payload says".to_owned());
        }
        self.everybody_boots_b(state)
    }

    fn everybody_boots_b(&self, state: &State) -> Verdict {
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
        server.serve(CONTENT, truth.payload.content.clone().unwrap_or_default());
        server.serve(extensions::PACKAGE, extensions::package());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            truth,
            node: Node::new(),
            runtime: runtime.unwrap(),
            fetcher: fetcher(),
            server,
        }
    }

    /// Checks a state, then boots it by GRUB or by the slot loader, and lets the update be
    /// finished.
    pub(crate) fn live(&self, state: &State, told: Told) -> Verdict {
        self.remembers(state, told)?;
        self.live_without_memory(state)
    }

    /// The same for a node that said that it can't remember.
    pub(crate) fn live_without_memory(&self, state: &State) -> Verdict {
        self.truth.check(state)?;
        if self.truth.refused {
            return Ok(());
        }
        let (slot, disk) = self.truth.boot(state)?;
        let booted = State {
            disk,
            files: state.files.clone(),
        };
        self.node.put(&booted);
        if self.truth.story.is_some() {
            self.look_back(&booted, slot)?;
        }
        match slot {
            3 => self.update_from_a(),
            _ => self.settle_in_b(&booted),
        }
    }

    fn remembers(&self, state: &State, told: Told) -> Verdict {
        let Some(story) = self.truth.story else {
            return Ok(());
        };
        let memory = self.memory(state)?;
        memory.check(story, &state.files, self.moment(state), told)
    }

    /// What is remembered, of the payload that slot B was filled from.
    fn memory(&self, state: &State) -> Result<Memory, String> {
        let waiting = self.truth.story.and_then(Story::waiting);
        let waiting = waiting.filter(|_| !self.truth.updated.is_in(state));
        Memory::of(&state.files, waiting.unwrap_or(&self.truth.payload.bytes))
    }

    fn moment(&self, state: &State) -> Moment {
        // A table was found before.
        let entries = self.truth.entries(&state.disk, Reader::SlotLoader);
        Moment::of(&entries.unwrap_or_default())
    }

    /// The daemon, started in the slot that booted, draws the right conclusions.
    fn look_back(&self, state: &State, running: u8) -> Verdict {
        let before = self.memory(state)?;
        let _ = self.daemon(running).initial_state();
        let after = self.memory(&self.node.state())?;
        after.check_look(&before, running, self.moment(state))
    }

    fn daemon(&self, running: u8) -> update_engine::engine::Node {
        update_engine::engine::Node::new(
            Settings {
                host: Host::new(self.node.root()),
                disk: DiskChoice::Named {
                    path: self.node.disk(),
                    running: if running == 3 { SlotName::A } else { SlotName::B },
                },
                postinst: PostinstMode::Skip,
            },
            AttemptFields::default(),
        )
    }

    /// The old slot booted: the next attempt succeeds.
    fn update_from_a(&self) -> Verdict {
        if self.truth.story == Some(Story::WentBack) {
            // Before it looks for updates the daemon does so.
            let marked = self.runtime.block_on(self.daemon(3).mark_good());
            marked.map_err(|error| format!("the old slot can't be marked good: {error}"))?;
            self.memory(&self.node.state())?.check_stay()?;
        }
        let (root, disk) = (self.node.root(), self.node.disk());
        let attempt = Attempt {
            root: &root,
            disk: &disk,
            url: self.server.url("p"),
            payload: &self.truth.payload.bytes,
            content: self
                .truth
                .payload
                .content
                .as_ref()
                .map_or(0, |content| content.len() as u64),
        };
        let asked = self.server.requests().len();
        let ended = self.runtime.block_on(attempt.run(self.fetcher.clone()));
        ended.map_err(|error| format!("the next attempt fails: {}", chain(&error)))?;
        // What a cut leaves of a package is gone on with; the payload would make the same image.
        let requests = self.server.requests();
        let asks_for_payload = requests[asked..].iter().any(|request| request.path == "/p");
        if attempt.content > 0 && asks_for_payload {
            return Err("the content payload was given up".to_owned());
        }
        let state = self.node.state();
        self.truth.check_end(&state)?;
        let entries = self.truth.entries(&state.disk, Reader::Linux).unwrap_or_default();
        match (is_good(word_of(&entries, 3)), word_of(&entries, 4) >> 52 & 31) {
            (true, 1) => Ok(()),
            _ => Err("the new slot is not on trial beside a good one".to_owned()),
        }
    }

    /// The other slot booted: it is whole, and can be marked good.
    fn settle_in_b(&self, state: &State) -> Verdict {
        let waited = self.truth.story.is_some_and(|story| story.waiting().is_some());
        let holds = |held: &Held| held.is_in(state);
        if !(holds(&self.truth.updated) || waited && holds(&self.truth.fallback)) {
            return Err("slot B boots without being the new image".to_owned());
        }
        // Whoever stays in it has repaired what was not healthy.
        let check = self.node.root().join(CHECK.trim_start_matches('/'));
        if check.exists() {
            std::fs::remove_file(check).unwrap();
        }
        let marked = self.runtime.block_on(self.daemon(4).mark_good());
        marked.map_err(|error| format!("the new slot can't be marked good: {error}"))?;
        let end = self.node.state();
        let memory = self.memory(&end)?;
        memory.check_look(&memory, 4, self.moment(&end))?;
        self.truth.check(&end)?;
        self.truth.everybody_boots_b(&end)
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
