//! An output file, which appears complete or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Something being written.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    place: OutputPlace,
}

#[derive(Debug)]
enum OutputPlace {
    /// A file under another name in the directory where it will appear.
    Beside(NamedTempFile),
    /// A device has no other name: it is written as we go.
    Device(File),
}

impl OutputFile {
    /// Begins what will be at `path`. A symbolic link stays one, and what it leads to is replaced.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        if fs::metadata(&path).is_ok_and(|found| found.file_type().is_block_device()) {
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            return Ok(Self {
                path,
                place: OutputPlace::Device(device),
            });
        }
        let file = tempfile::Builder::new()
            .prefix(".update_payload-")
            // As any new file: what the umask leaves of it.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory(&path))?;
        Ok(Self {
            path,
            place: OutputPlace::Beside(file),
        })
    }

    /// An empty file without a name, on the same file system.
    pub(super) fn spool(&self) -> io::Result<File> {
        tempfile::tempfile_in(directory(&self.path))
    }

    pub(super) fn file(&self) -> &File {
        match &self.place {
            OutputPlace::Beside(file) => file.as_file(),
            OutputPlace::Device(device) => device,
        }
    }

    /// Cuts a file to `len` bytes; a device has the length it has.
    pub(super) fn cut(&self, len: u64) -> io::Result<()> {
        match &self.place {
            OutputPlace::Beside(file) => file.as_file().set_len(len),
            OutputPlace::Device(_) => Ok(()),
        }
    }

    /// Makes it durable and lets it appear. Cut before the rename, the old file is there; after it
    /// the new one, complete by then; the last sync decides which, before we report success.
    pub(super) fn publish(self) -> io::Result<()> {
        self.file().sync_all()?;
        if let OutputPlace::Beside(file) = self.place {
            file.persist(&self.path).map_err(|error| error.error)?;
            File::open(directory(&self.path))?.sync_all()?;
        }
        Ok(())
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
