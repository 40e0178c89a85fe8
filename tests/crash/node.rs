//! A node in a directory: a state brought to life, and an attempt to update it by the real
//! installer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use payload_format::PartitionName;
use tempfile::TempDir;
use update_engine::disk::{PartitionPair, SlotDisk, SlotName};
use update_engine::fetch::{FetchSettings, Fetcher};
use update_engine::host::Host;
use update_engine::install::{InstallError, Pace, PostinstMode, Site};
use update_engine::plan::{ContentPackage, ExtraPartition, InstallPlan};

use crate::extensions;
use crate::installing::{install, plan};
use crate::machine::{Paths, State};
use crate::tree::Files;

/// The content payload's name at its server.
pub(crate) const CONTENT: &str = "update.content";

pub(crate) const KERNEL_A: &str = "/boot/flatcar/vmlinuz-a";
pub(crate) const KERNEL_B: &str = "/boot/flatcar/vmlinuz-b";

/// The name of the extra partition, in payloads and configuration.
pub(crate) const OEM: &str = "oem";
pub(crate) const OEM_PAIR: &str = "/dev/disk/by-partlabel/OEM-%s";
pub(crate) const OEM_A: &str = "/dev/disk/by-partlabel/OEM-A";
pub(crate) const OEM_B: &str = "/dev/disk/by-partlabel/OEM-B";

pub(crate) struct Node {
    directory: TempDir,
}

impl Node {
    /// In memory, where there is such a place: nothing here is meant to survive.
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() {
            TempDir::new_in(memory)
        } else {
            TempDir::new()
        };
        let directory = directory.unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.path("disk.img")
    }

    pub(crate) fn paths(&self) -> Paths {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        Paths {
            root: text(self.root()),
            disk: text(self.disk()),
        }
    }

    /// Replaces everything by `state`.
    pub(crate) fn put(&self, state: &State) {
        fs::remove_dir_all(self.root()).unwrap();
        fs::create_dir(self.root()).unwrap();
        for (path, contents) in &state.files {
            let path = self.root().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        fs::write(self.disk(), &state.disk).unwrap();
    }

    /// What there is now.
    pub(crate) fn state(&self) -> State {
        let mut files = Files::new();
        collect(&self.root(), "", &mut files);
        State {
            disk: fs::read(self.disk()).unwrap(),
            files,
        }
    }
}

fn collect(directory: &Path, name: &str, files: &mut Files) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &name, files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// One attempt from slot A, in this process.
pub(crate) struct Attempt<'a> {
    pub(crate) root: &'a Path,
    pub(crate) disk: &'a Path,
    pub(crate) url: String,
    pub(crate) payload: &'a [u8],
    /// Bytes of the content payload beside it; 0 if there is none.
    pub(crate) content: u64,
}

impl Attempt<'_> {
    /// Runs all phases but the image's script.
    pub(crate) async fn run(&self, fetcher: Fetcher) -> Result<(), InstallError> {
        let slots = SlotDisk::open(self.disk, SlotName::A);
        let slots = slots.map_err(|source| InstallError::Open {
            slot: SlotName::A,
            source,
        })?;
        let site = Site {
            host: Host::new(self.root),
            slots: Arc::new(slots),
            fetcher,
            postinst: PostinstMode::Skip,
            pace: Pace {
                bytes: 32 << 10,
                interval: Duration::ZERO,
                workers: 2,
                ..Pace::default()
            },
        };
        let extra_partition = ExtraPartition {
            name: PartitionName::new(OEM).unwrap(),
            pair: PartitionPair::parse(OEM_PAIR).unwrap(),
        };
        let plan = InstallPlan {
            extra_partitions: vec![extra_partition],
            extensions: extensions::plan(self.root, &self.url),
            content: (self.content > 0).then(|| ContentPackage {
                name: CONTENT.to_owned(),
                // Invariant: the payload is called `p`.
                url: format!("{}{CONTENT}", self.url.strip_suffix('p').unwrap()),
                fallback_urls: Vec::new(),
                size: self.content,
            }),
            ..plan(self.url.clone(), self.payload)
        };
        install(plan, site).await
    }
}

/// The network, without patience: a fault ends an attempt.
pub(crate) fn fetcher() -> Fetcher {
    Fetcher::new(FetchSettings {
        resumes: 0,
        no_answer_retries: 0,
        ..FetchSettings::default()
    })
}
