//! Files: contents and names, each with what the medium holds and what only the cache does.
//!
//! No file system's kindness is counted on: a name is durable once its directory was synced,
//! contents once the file was, and whatever wasn't synced is kept or lost each by itself. (Journals
//! keep more order than that; the boot partition is FAT, which has none.)

use std::collections::BTreeMap;

use crate::device::pieces;
use crate::loss::Loss;

/// FAT and page cache tear at these.
const SECTOR: usize = 512;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Number of a file, whatever its name.
pub(crate) type Node = usize;

/// Number of a directory, likewise: it may be renamed with all that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

const ROOT: Place = Place(0);

pub(crate) struct Tree {
    nodes: Vec<Contents>,
    directories: Vec<Directory>,
    /// Everything that ever was the contents of a file that gets replaced whole.
    whole: BTreeMap<String, Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Contents {
    medium: Vec<u8>,
    unsynced: Vec<Change>,
}

struct Change {
    call: usize,
    what: What,
    returned: bool,
}

enum What {
    Bytes { at: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Default)]
struct Directory {
    medium: BTreeMap<String, Entry>,
    unsynced: Vec<(usize, Naming)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(Node),
    Directory(Place),
}

enum Naming {
    Link(String, Entry),
    Unlink(String),
    Rename { from: String, to: String, entry: Entry },
}

/// What a sync that begins now vouches for.
pub(crate) enum Covered {
    Contents(Node, Vec<usize>),
    Names(Place, Vec<usize>),
}

impl Tree {
    /// Files that are on the medium.
    pub(crate) fn new(files: &Files) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            directories: vec![Directory::default()],
            whole: BTreeMap::new(),
        };
        for (path, contents) in files {
            let entry = Entry::File(tree.add(contents.clone()));
            let (directory, name) = parts(path);
            let directory = tree.on_the_medium(directory);
            tree.directories[directory.0]
                .medium
                .insert(name.to_owned(), entry);
            tree.whole.insert(path.clone(), vec![contents.clone()]);
        }
        tree
    }

    /// The directory at `path`, made with those above it if it isn't there.
    fn on_the_medium(&mut self, path: &str) -> Place {
        if path == "/" {
            return ROOT;
        }
        let (above, name) = parts(path);
        let above = self.on_the_medium(above);
        if let Some(Entry::Directory(place)) = self.directories[above.0].medium.get(name) {
            return *place;
        }
        let place = self.add_directory();
        let names = &mut self.directories[above.0].medium;
        names.insert(name.to_owned(), Entry::Directory(place));
        place
    }

    fn add_directory(&mut self) -> Place {
        self.directories.push(Directory::default());
        Place(self.directories.len() - 1)
    }

    /// A file without a name.
    pub(crate) fn add_nameless(&mut self) -> Node {
        self.add(Vec::new())
    }

    fn add(&mut self, medium: Vec<u8>) -> Node {
        self.nodes.push(Contents {
            medium,
            unsynced: Vec::new(),
        });
        self.nodes.len() - 1
    }

    fn directory(&mut self, path: &str) -> &mut Directory {
        let known = self.find_directory(path);
        let place = known.unwrap_or_else(|| panic!("{path} is no directory"));
        &mut self.directories[place.0]
    }

    /// What programs see at `path`.
    fn look(&self, path: &str) -> Option<Entry> {
        if path == "/" {
            return Some(Entry::Directory(ROOT));
        }
        let (directory, name) = parts(path);
        let place = self.find_directory(directory)?;
        self.directories[place.0].names(|_| true).get(name).copied()
    }

    /// The directory of that name, as programs see it.
    pub(crate) fn find_directory(&self, path: &str) -> Option<Place> {
        match self.look(path)? {
            Entry::Directory(place) => Some(place),
            Entry::File(_) => None,
        }
    }

    /// The file of that name, as programs see it.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        match self.look(path)? {
            Entry::File(node) => Some(node),
            Entry::Directory(_) => None,
        }
    }

    pub(crate) fn create(&mut self, call: usize, path: &str) -> Node {
        let node = self.add(Vec::new());
        let (directory, name) = parts(path);
        let naming = Naming::Link(name.to_owned(), Entry::File(node));
        self.directory(directory).unsynced.push((call, naming));
        node
    }

    pub(crate) fn make_directory(&mut self, call: usize, path: &str) {
        let (directory, name) = parts(path);
        let naming = Naming::Link(name.to_owned(), Entry::Directory(self.add_directory()));
        self.directory(directory).unsynced.push((call, naming));
    }

    /// Of a file or an empty directory.
    pub(crate) fn unlink(&mut self, call: usize, path: &str) {
        let (directory, name) = parts(path);
        let naming = Naming::Unlink(name.to_owned());
        self.directory(directory).unsynced.push((call, naming));
    }

    pub(crate) fn rename(&mut self, call: usize, from: &str, to: &str) {
        let entry = self.look(from).unwrap_or_else(|| panic!("{from} was never made"));
        let ((directory, from), (other, to_name)) = (parts(from), parts(to));
        assert_eq!(directory, other, "a rename between directories is not modelled");
        let naming = Naming::Rename {
            from: from.to_owned(),
            to: to_name.to_owned(),
            entry,
        };
        self.directory(directory).unsynced.push((call, naming));
        let mut named = Files::new();
        self.collect_entry(to.to_owned(), entry, &mut |_| true, &mut named);
        for (path, contents) in named {
            self.whole.entry(path).or_default().push(contents);
        }
    }

    pub(crate) fn write(&mut self, call: usize, node: Node, at: usize, bytes: Vec<u8>) {
        self.change(call, node, What::Bytes { at, bytes });
    }

    pub(crate) fn set_len(&mut self, call: usize, node: Node, len: usize) {
        self.change(call, node, What::Length(len));
    }

    fn change(&mut self, call: usize, node: Node, what: What) {
        let returned = false;
        self.nodes[node].unsynced.push(Change { call, what, returned });
    }

    /// The call succeeded, having written so many bytes if it did write; or failed and left
    /// nothing.
    pub(crate) fn returned(&mut self, call: usize, node: Node, written: Option<usize>) {
        let changes = &mut self.nodes[node].unsynced;
        changes.retain(|change| change.call != call || written.is_some());
        for change in changes.iter_mut().filter(|change| change.call == call) {
            change.returned = true;
            if let (What::Bytes { bytes, .. }, Some(written)) = (&mut change.what, written) {
                bytes.truncate(written);
            }
        }
    }

    pub(crate) fn covered_by(&self, node: Node) -> Covered {
        let changes = self.nodes[node].unsynced.iter().filter(|change| change.returned);
        Covered::Contents(node, changes.map(|change| change.call).collect())
    }

    pub(crate) fn names_covered_in(&self, directory: Place) -> Covered {
        let names = self.directories[directory.0].unsynced.iter();
        Covered::Names(directory, names.map(|(call, _)| *call).collect())
    }

    pub(crate) fn sync(&mut self, covered: &Covered) {
        match covered {
            Covered::Contents(node, calls) => {
                let contents = &mut self.nodes[*node];
                let changes = contents
                    .unsynced
                    .extract_if(.., |change| calls.contains(&change.call));
                for change in changes {
                    change.what.apply(&mut contents.medium, || true);
                }
            }
            Covered::Names(directory, calls) => {
                let directory = &mut self.directories[directory.0];
                let names = directory
                    .unsynced
                    .extract_if(.., |(call, _)| calls.contains(call));
                for (_, naming) in names {
                    naming.apply(&mut directory.medium);
                }
            }
        }
    }

    /// The contents of a file as programs see them.
    pub(crate) fn contents(&self, node: Node) -> Vec<u8> {
        self.nodes[node].after(|_| true)
    }

    pub(crate) fn after(&self, loss: &mut Loss) -> Files {
        let mut files = Files::new();
        let root = Entry::Directory(ROOT);
        self.collect_entry(String::new(), root, &mut |call| loss.keeps(call), &mut files);
        files
    }

    /// All that is at `path`, as far as `keeps` says that it came to the medium.
    fn collect_entry(
        &self,
        path: String,
        entry: Entry,
        keeps: &mut dyn FnMut(usize) -> bool,
        files: &mut Files,
    ) {
        match entry {
            Entry::File(node) => {
                let contents = self.nodes[node].after(&mut *keeps);
                files.insert(path, contents);
            }
            Entry::Directory(place) => {
                for (name, entry) in self.directories[place.0].names(&mut *keeps) {
                    self.collect_entry(format!("{path}/{name}"), entry, keeps, files);
                }
            }
        }
    }

    /// Whether these are contents that somebody once meant to be all of `path`'s.
    pub(crate) fn is_whole(&self, path: &str, contents: &[u8]) -> bool {
        let known = self.whole.get(path);
        known.is_some_and(|known| known.iter().any(|whole| whole == contents))
    }
}

impl Contents {
    fn after(&self, mut keeps: impl FnMut(usize) -> bool) -> Vec<u8> {
        let mut bytes = self.medium.clone();
        for change in &self.unsynced {
            change.what.apply(&mut bytes, || keeps(change.call));
        }
        bytes
    }
}

impl What {
    fn apply(&self, contents: &mut Vec<u8>, mut keeps: impl FnMut() -> bool) {
        match self {
            Self::Length(len) => {
                if keeps() {
                    contents.resize(*len, 0);
                }
            }
            Self::Bytes { at, bytes } => {
                for piece in pieces(*at, bytes.len(), SECTOR).filter(|_| keeps()) {
                    let end = at + piece.end;
                    contents.resize(contents.len().max(end), 0);
                    contents[at + piece.start..end].copy_from_slice(&bytes[piece]);
                }
            }
        }
    }
}

impl Directory {
    fn names(&self, mut keeps: impl FnMut(usize) -> bool) -> BTreeMap<String, Entry> {
        let mut names = self.medium.clone();
        for (call, naming) in &self.unsynced {
            if keeps(*call) {
                naming.apply(&mut names);
            }
        }
        names
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, Entry>) {
        match self {
            Self::Link(name, entry) => {
                names.insert(name.clone(), *entry);
            }
            Self::Unlink(name) => {
                names.remove(name);
            }
            Self::Rename { from, to, entry } => {
                names.remove(from);
                names.insert(to.clone(), *entry);
            }
        }
    }
}

fn parts(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(parts) => parts,
        None => panic!("{path} is not absolute"),
    }
}
