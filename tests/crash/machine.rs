//! A machine whose power fails: applies a recorded program's calls, and tells what a cut would
//! leave.

use std::collections::HashMap;

use ring::digest::{Context, SHA256};

use crate::device::{Device, Fingerprint, Survived};
use crate::loss::Loss;
use crate::memory::Told;
use crate::trace::{Call, Step, Trace};
use crate::tree::{self, Covered, Files, Node, Tree};

/// What is on the medium: the disk with the slots, and the files of the other partitions by
/// absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) disk: Vec<u8>,
    pub(crate) files: Files,
}

impl State {
    /// Empties the file systems that a cut empties.
    pub(crate) fn lose_memory(&mut self) {
        self.files.retain(|path, _| !is_in_memory(path));
    }
}

fn is_in_memory(path: &str) -> bool {
    path.starts_with("/run/") || path.starts_with("/var/run/")
}

/// What a cut leaves of it. Most cuts leave what another one did: the disk is put together only for
/// those that don't.
pub(crate) struct Cut {
    disk: Survived,
    pub(crate) files: Files,
}

impl Cut {
    /// Equal for cuts that leave the same.
    pub(crate) fn digest(&self) -> (Fingerprint, Vec<u8>) {
        let mut context = Context::new(&SHA256);
        for (path, contents) in &self.files {
            context.update(path.as_bytes());
            context.update(&contents.len().to_be_bytes());
            context.update(contents);
        }
        (self.disk.fingerprint, context.finish().as_ref().to_vec())
    }
}

/// Where the program found them.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The directory that stands for `/`.
    pub(crate) root: String,
    pub(crate) disk: String,
}

pub(crate) struct Machine {
    paths: Paths,
    device: Device,
    tree: Tree,
    open: HashMap<usize, Opening>,
    openings: usize,
    syncs: HashMap<usize, Sync>,
    /// Everything that went over the network.
    sent: Vec<u8>,
}

/// A descriptor's file.
#[derive(Clone)]
struct Opening {
    number: usize,
    what: Opened,
    position: usize,
}

#[derive(Clone)]
enum Opened {
    Disk,
    File(Node),
    Directory(tree::Place),
}

enum Sync {
    Disk(Vec<usize>),
    Tree(Covered),
}

/// What a path of the program is to us.
enum Place {
    Disk,
    Path(String),
    Elsewhere,
}

impl Machine {
    pub(crate) fn new(paths: Paths, state: &State, sector: usize) -> Self {
        Self {
            paths,
            device: Device::new(state.disk.clone(), sector),
            tree: Tree::new(&state.files),
            open: HashMap::new(),
            openings: 0,
            syncs: HashMap::new(),
            sent: Vec::new(),
        }
    }

    /// One step of the program. Gives whether a cut after it can leave anything that one before it
    /// couldn't.
    pub(crate) fn apply(&mut self, trace: &Trace, step: Step) -> bool {
        match step {
            Step::Enter(number) => {
                self.enter(number, &trace.calls[number]);
                false
            }
            Step::Exit(number) => self.exit(number, &trace.calls[number]),
        }
    }

    /// What the medium holds after a cut now. Memory file systems are empty then.
    pub(crate) fn cut(&self, loss: &mut Loss) -> Cut {
        let mut files = self.tree.after(loss);
        files.retain(|path, _| !is_in_memory(path));
        Cut {
            disk: self.device.after(loss),
            files,
        }
    }

    pub(crate) fn state(&self, cut: Cut) -> State {
        State {
            disk: self.device.whole(&cut.disk),
            files: cut.files,
        }
    }

    /// What programs see now.
    pub(crate) fn live(&self) -> State {
        let mut everything = Loss::new(crate::loss::Kind::Kept, 0, 0);
        State {
            disk: self.device.whole(&self.device.after(&mut everything)),
            files: self.tree.after(&mut everything),
        }
    }

    /// What servers have heard.
    pub(crate) fn told(&self) -> Told {
        Told::from(&self.sent)
    }

    /// See [`Tree::is_whole`].
    pub(crate) fn is_whole(&self, path: &str, contents: &[u8]) -> bool {
        self.tree.is_whole(path, contents)
    }

    fn place(&self, path: &str) -> Place {
        if path == self.paths.disk {
            return Place::Disk;
        }
        match path.strip_prefix(&self.paths.root) {
            Some("") => Place::Path("/".to_owned()),
            Some(inside) if inside.starts_with('/') => Place::Path(inside.to_owned()),
            _ => Place::Elsewhere,
        }
    }

    fn opened(&self, call: &Call, nth: usize) -> Option<Opening> {
        self.open.get(&call.descriptor(nth)).cloned()
    }

    /// From here on a write may have its effect, and what was not written before a sync isn't
    /// covered by it.
    fn enter(&mut self, number: usize, call: &Call) {
        match call.name.as_str() {
            "pwrite64" => {
                if let Some(opening) = self.opened(call, 0) {
                    self.write(number, &opening, call.number(3), call.bytes(1));
                }
            }
            "write" => {
                if let Some(opening) = self.opened(call, 0) {
                    self.write(number, &opening, opening.position, call.bytes(1));
                }
            }
            "ftruncate" => match self.opened(call, 0).map(|opening| opening.what) {
                Some(Opened::File(node)) => self.tree.set_len(number, node, call.number(1)),
                Some(_) => panic!("the disk's length is changed"),
                None => {}
            },
            // From here on nobody has the file by this number; its next owner may be seen to open
            // it first.
            "close" => {
                self.open.remove(&call.descriptor(0));
            }
            "fsync" | "fdatasync" => {
                let sync = self.opened(call, 0).map(|opening| match opening.what {
                    Opened::Disk => Sync::Disk(self.device.synced_by(opening.number)),
                    Opened::File(node) => Sync::Tree(self.tree.covered_by(node)),
                    Opened::Directory(path) => Sync::Tree(self.tree.names_covered_in(path)),
                });
                self.syncs.extend(sync.map(|sync| (number, sync)));
            }
            _ => {}
        }
    }

    fn write(&mut self, number: usize, opening: &Opening, at: usize, bytes: Vec<u8>) {
        match opening.what {
            Opened::Disk => self.device.write(number, opening.number, at, bytes),
            Opened::File(node) => self.tree.write(number, node, at, bytes),
            Opened::Directory(_) => panic!("a directory is written"),
        }
    }

    fn exit(&mut self, number: usize, call: &Call) -> bool {
        let result = call.result.and_then(|result| usize::try_from(result).ok());
        match call.name.as_str() {
            "pwrite64" | "write" | "ftruncate" => self.written(call, number, result),
            "fsync" | "fdatasync" => match (self.syncs.remove(&number), result) {
                (Some(sync), Some(_)) => self.synced(&sync),
                (sync, _) => sync.is_some(),
            },
            _ => result.is_some_and(|result| self.succeeded(number, call, result)),
        }
    }

    fn written(&mut self, call: &Call, number: usize, result: Option<usize>) -> bool {
        let descriptor = call.descriptor(0);
        let Some(opening) = self.open.get_mut(&descriptor) else {
            return false;
        };
        if call.name == "write" {
            opening.position += result.unwrap_or(0);
        }
        match opening.what {
            Opened::Disk => self.device.returned(number, result.unwrap_or(0)),
            Opened::File(node) => self.tree.returned(number, node, result),
            Opened::Directory(_) => {}
        }
        true
    }

    fn synced(&mut self, sync: &Sync) -> bool {
        match sync {
            Sync::Disk(calls) => self.device.sync(calls),
            Sync::Tree(covered) => self.tree.sync(covered),
        }
        true
    }

    /// Calls that have their effect at once.
    fn succeeded(&mut self, number: usize, call: &Call, result: usize) -> bool {
        match call.name.as_str() {
            "openat" => self.open(number, call, result),
            "close" => false,
            "sendto" => {
                self.sent.extend(call.bytes(1));
                false
            }
            "fcntl" | "dup" | "dup2" | "dup3" => {
                if !call.name.starts_with("fcntl") || call.has_flag(1, "F_DUPFD_CLOEXEC") {
                    let opening = self.opened(call, 0);
                    self.open.remove(&result);
                    self.open.extend(opening.map(|opening| (result, opening)));
                }
                false
            }
            "mkdir" => self.name(&[call.path(0)], |tree, paths| {
                tree.make_directory(number, &paths[0]);
            }),
            "unlink" | "rmdir" => self.name(&[call.path(0)], |tree, paths| tree.unlink(number, &paths[0])),
            "unlinkat" => self.name(&[call.path_at(0, 1)], |tree, paths| {
                tree.unlink(number, &paths[0]);
            }),
            "rename" => self.name(&[call.path(0), call.path(1)], |tree, paths| {
                tree.rename(number, &paths[0], &paths[1]);
            }),
            "renameat" => self.name(&[call.path_at(0, 1), call.path_at(2, 3)], |tree, paths| {
                tree.rename(number, &paths[0], &paths[1]);
            }),
            // Room is kept, and nothing changes.
            "fallocate" if call.has_flag(1, "FALLOC_FL_KEEP_SIZE") => false,
            "copy_file_range" => self.copied(number, call, (0, 2), result),
            "sendfile" => self.copied(number, call, (1, 0), result),
            // Private mappings and those of libraries; a shared one of a file of ours would be
            // missed.
            "mmap" => {
                assert!(
                    !call.has_flag(3, "MAP_SHARED") || self.opened_mapping(call).is_none(),
                    "a file is mapped to be written"
                );
                false
            }
            _ => self.refuse_unknown(call),
        }
    }

    fn opened_mapping(&self, call: &Call) -> Option<Opening> {
        if call.is_anonymous(4) {
            None
        } else {
            self.opened(call, 4)
        }
    }

    fn open(&mut self, number: usize, call: &Call, descriptor: usize) -> bool {
        self.open.remove(&descriptor);
        let what = match self.place(&call.path_at(0, 1)) {
            Place::Elsewhere => return false,
            Place::Disk => Opened::Disk,
            Place::Path(_) if call.has_flag(2, "O_TMPFILE") => Opened::File(self.tree.add_nameless()),
            Place::Path(path) => match (self.tree.find_directory(&path), self.tree.find(&path)) {
                (Some(directory), _) => Opened::Directory(directory),
                (None, Some(node)) => {
                    if call.has_flag(2, "O_TRUNC") {
                        self.tree.set_len(number, node, 0);
                        self.tree.returned(number, node, Some(0));
                    }
                    Opened::File(node)
                }
                (None, None) => Opened::File(self.tree.create(number, &path)),
            },
        };
        assert!(!call.has_flag(2, "O_APPEND"), "appending is not modelled");
        self.openings += 1;
        let opening = Opening {
            number: self.openings,
            what,
            position: 0,
        };
        self.open.insert(descriptor, opening);
        call.has_flag(2, "O_CREAT")
    }

    fn name(&mut self, paths: &[String], change: impl FnOnce(&mut Tree, &[String])) -> bool {
        let place = |path: &String| match self.place(path) {
            Place::Path(path) => Some(path),
            Place::Disk | Place::Elsewhere => None,
        };
        let paths: Option<Vec<String>> = paths.iter().map(place).collect();
        let Some(paths) = paths else { return false };
        change(&mut self.tree, &paths);
        true
    }

    /// The kernel copied `len` bytes from one file to the other, each from its position on.
    fn copied(&mut self, number: usize, call: &Call, (from, to): (usize, usize), len: usize) -> bool {
        let (Some(source), Some(target)) = (self.opened(call, from), self.opened(call, to)) else {
            return false;
        };
        let (Opened::File(source_node), Opened::File(node)) = (source.what, target.what) else {
            panic!("the disk is copied by the kernel");
        };
        let contents = self.tree.contents(source_node);
        let bytes = contents[source.position..source.position + len].to_vec();
        self.tree.write(number, node, target.position, bytes);
        self.tree.returned(number, node, Some(len));
        for nth in [from, to] {
            if let Some(opening) = self.open.get_mut(&call.descriptor(nth)) {
                opening.position += len;
            }
        }
        true
    }

    /// Whatever else the program does must not be about our files: the model would miss it.
    fn refuse_unknown(&self, call: &Call) -> bool {
        let ours = call.mentions(&self.paths.root) || call.mentions(&self.paths.disk);
        assert!(!ours, "{} is not modelled", call.name);
        false
    }
}
