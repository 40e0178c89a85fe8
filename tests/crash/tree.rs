//! Files: contents and names, each with what the medium holds and what only the cache does.
//!
//! No file system's kindness is counted on: a name is durable once its directory was synced, contents once the
//! file was, and whatever wasn't synced is kept or lost each by itself. (Journals keep more order than that; the
//! boot partition is FAT, which has none.)

use std::collections::BTreeMap;

use crate::device::pieces;
use crate::loss::Loss;

/// FAT and page cache tear at these.
const SECTOR: usize = 512;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Number of a file, whatever its name.
pub(crate) type Node = usize;

#[derive(Default)]
pub(crate) struct Tree {
    nodes: Vec<Contents>,
    directories: BTreeMap<String, Directory>,
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
    Directory,
}

enum Naming {
    Link(String, Entry),
    Unlink(String),
    Rename { from: String, to: String, node: Node },
}

/// What a sync that begins now vouches for.
pub(crate) enum Covered {
    Contents(Node, Vec<usize>),
    Names(String, Vec<usize>),
}

impl Tree {
    /// Files that are on the medium.
    pub(crate) fn new(files: &Files) -> Self {
        let mut tree = Self::default();
        tree.directories.entry("/".to_owned()).or_default();
        for (name, contents) in files {
            let mut entry = Entry::File(tree.add(contents.clone()));
            let mut path = name.as_str();
            while path != "/" {
                let (directory, name) = parts(path);
                let directory_entries = tree.directories.entry(directory.to_owned()).or_default();
                directory_entries.medium.insert(name.to_owned(), entry);
                (entry, path) = (Entry::Directory, directory);
            }
            tree.whole.insert(name.clone(), vec![contents.clone()]);
        }
        tree
    }

    fn add(&mut self, medium: Vec<u8>) -> Node {
        self.nodes.push(Contents {
            medium,
            unsynced: Vec::new(),
        });
        self.nodes.len() - 1
    }

    fn directory(&mut self, path: &str) -> &mut Directory {
        let known = self.directories.get_mut(path);
        known.unwrap_or_else(|| panic!("{path} is no directory that was ever made"))
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.directories.contains_key(path)
    }

    /// The file of that name, as programs see it.
    pub(crate) fn find(&self, path: &str) -> Option<Node> {
        let (directory, name) = parts(path);
        match self.directories.get(directory)?.names(|_| true).get(name) {
            Some(Entry::File(node)) => Some(*node),
            _ => None,
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
        let naming = Naming::Link(name.to_owned(), Entry::Directory);
        self.directory(directory).unsynced.push((call, naming));
        self.directories.entry(path.to_owned()).or_default();
    }

    pub(crate) fn unlink(&mut self, call: usize, path: &str) {
        let (directory, name) = parts(path);
        let naming = Naming::Unlink(name.to_owned());
        self.directory(directory).unsynced.push((call, naming));
    }

    pub(crate) fn rename(&mut self, call: usize, from: &str, to: &str) {
        let node = self.find(from).unwrap_or_else(|| panic!("{from} was never made"));
        let ((directory, from), (other, to_name)) = (parts(from), parts(to));
        assert_eq!(directory, other, "a rename between directories is not modelled");
        let naming = Naming::Rename {
            from: from.to_owned(),
            to: to_name.to_owned(),
            node,
        };
        self.directory(directory).unsynced.push((call, naming));
        let contents = self.contents(node);
        self.whole.entry(to.to_owned()).or_default().push(contents);
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

    /// The call succeeded, having written so many bytes if it did write; or failed and left nothing.
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

    pub(crate) fn names_covered_in(&self, directory: &str) -> Covered {
        let names = self.directories[directory].unsynced.iter();
        Covered::Names(directory.to_owned(), names.map(|(call, _)| *call).collect())
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
                let directory = self.directory(directory);
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
        self.collect("/", loss, &mut files);
        files
    }

    fn collect(&self, path: &str, loss: &mut Loss, files: &mut Files) {
        for (name, entry) in self.directories[path].names(|call| loss.keeps(call)) {
            let path = format!("{}/{name}", path.trim_end_matches('/'));
            match entry {
                Entry::Directory => self.collect(&path, loss, files),
                Entry::File(node) => {
                    let contents = self.nodes[node].after(|call| loss.keeps(call));
                    files.insert(path, contents);
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
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), Entry::File(*node));
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
