//! Archive in the kernel's format "newc" (kernel documentation, early-userspace/buffer-format).

/// Kind of an entry.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A file that may be run.
    Program,
    /// A file.
    File,
    /// A link; the contents are its target.
    Link,
}

impl Kind {
    fn mode(self) -> u32 {
        match self {
            Self::Directory => 0o040_755,
            Self::Program => 0o100_755,
            Self::File => 0o100_644,
            Self::Link => 0o120_777,
        }
    }
}

/// Archive under construction. The same entries make the same bytes.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an entry; the directories above it have to be there already.
    pub(super) fn add(&mut self, kind: Kind, path: &str, contents: &[u8]) {
        self.entries += 1;
        let inode = self.entries;
        self.entry(inode, kind.mode(), path, contents);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(0, 0, "TRAILER!!!", &[]);
        self.bytes
    }

    fn entry(&mut self, inode: u32, mode: u32, path: &str, contents: &[u8]) {
        let (length, name) = (contents.len(), path.len() + 1);
        // inode, mode, owner, group, links, time, length, four device numbers, name's length, no
        // checksum
        let header = format!(
            "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{length:08X}{0:08X}{0:08X}{0:08X}{0:08X}{name:08X}{0:08X}",
            0, 1
        );
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
