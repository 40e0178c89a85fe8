//! Readers of other programs' files that tell a missing file apart from an unreadable one; and the
//! free space of file systems.
//!
//! A file is absent if its name doesn't exist, or its directory doesn't. Nothing else is absence:
//! not a directory, a socket or a pipe in its place, nor a link that leads nowhere or to itself,
//! nor a file where its directory should be, nor an error of the medium, of permissions or of this
//! process' limits. Somebody may have set something there, and nobody knows what. One link may lead
//! nowhere: a directory of the image, below `/usr`. Images have `/usr/share/oem` so that have no
//! such partition.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statvfs::statvfs;

use super::Host;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Error of a file that exists, or may exist, and can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{path} can't be read")]
pub struct Unreadable {
    /// The file, as an absolute path of the host.
    pub path: String,
    /// Error of the system call.
    pub source: io::Error,
}

impl Host {
    /// The contents of the file `absolute`; `None` if it does not exist. One that is bound or
    /// linked to `/dev/null` is empty.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(&self, absolute: &str) -> Result<Option<Vec<u8>>, Unreadable> {
        self.read_up_to(absolute, LONGEST)
    }

    /// The same, of at most `longest` bytes.
    pub(super) fn read_up_to(&self, absolute: &str, longest: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        self.if_there(absolute, |path| contents(path, longest))
    }

    /// Whether `absolute` exists.
    ///
    /// # Errors
    /// [`Unreadable`] if that can't be told.
    pub fn is_there(&self, absolute: &str) -> Result<bool, Unreadable> {
        Ok(self.look_at(absolute)?.is_some())
    }

    /// Metadata of `absolute`, links followed; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Unreadable`] if that can't be told.
    pub fn look_at(&self, absolute: &str) -> Result<Option<Metadata>, Unreadable> {
        self.if_there(absolute, |path| fs::metadata(path))
    }

    /// Result of `look` at `absolute`; `None` if there is no such name.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn if_there<T>(
        &self,
        absolute: &str,
        look: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<Option<T>, Unreadable> {
        let path = self.path(absolute);
        let found = match look(&path) {
            Err(error) if is_missing(&error) => match self.first_missing(absolute) {
                Ok(true) => Ok(None),
                // It has appeared in between.
                Ok(false) => look(&path).map(Some),
                Err(error) => Err(error),
            },
            found => found.map(Some),
        };
        found.map_err(|source| Unreadable {
            path: absolute.to_owned(),
            source,
        })
    }

    /// Whether a part of `absolute` is missing, other than behind a dangling link.
    fn first_missing(&self, absolute: &str) -> io::Result<bool> {
        let ends = absolute.match_indices('/').map(|(at, _)| at).skip(1);
        for end in ends.chain([absolute.len()]) {
            let part = &absolute[..end];
            let path = self.path(part);
            let found = match fs::symlink_metadata(&path) {
                Err(error) if is_missing(&error) => return Ok(true),
                found => found?,
            };
            match fs::metadata(&path) {
                Err(error) if is_missing(&error) && found.is_symlink() => {
                    let is_the_images = part.starts_with("/usr/") && part != absolute;
                    return if is_the_images {
                        Ok(true)
                    } else {
                        Err(dangling(part))
                    };
                }
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(false)
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOENT as i32)
}

/// Error of a dangling link, of another kind than that of a missing file.
fn dangling(part: &str) -> io::Error {
    io::Error::other(format!("{part} is a link that leads nowhere"))
}

fn contents(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // A pipe in its place must not keep us waiting for somebody who writes to it.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let found = file.metadata()?;
    if is_null(&found) {
        return Ok(Vec::new());
    }
    if found.is_dir() {
        return Err(Errno::EISDIR.into());
    }
    if !found.is_file() {
        let kind = kind(found.file_type());
        return Err(io::Error::other(format!("it is {kind}, not a file")));
    }
    read_whole(&file, longest)
}

fn read_whole(file: &File, longest: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(longest + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > longest {
        return Err(io::Error::other(format!("it is longer than {longest} bytes")));
    }
    Ok(contents)
}

fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == nix::sys::stat::makedev(1, 3)
}

fn kind(found: FileType) -> &'static str {
    if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Free bytes on the file system of `path`, which must exist.
///
/// # Errors
/// If `statvfs` fails.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = statvfs(path)?;
    Ok(room.blocks_available().saturating_mul(room.fragment_size()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use nix::unistd::{Uid, mkfifo};

    use super::*;

    const FILE: &str = "/etc/flatcar/update.conf";

    type Read = Result<Option<Vec<u8>>, String>;

    /// What reading and looking come to on a machine that `prepare` has prepared, whose file's
    /// directory exists.
    fn found(prepare: impl Fn(&Path)) -> (Read, Result<bool, String>) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        fs::create_dir_all(host.path(FILE).parent().unwrap()).unwrap();
        prepare(&host.path(FILE));
        let told = |error: Unreadable| {
            assert_eq!(error.path, FILE);
            error.source.to_string()
        };
        (host.read(FILE).map_err(told), host.is_there(FILE).map_err(told))
    }

    #[test]
    fn only_a_name_that_does_not_exist_is_absent() {
        assert_eq!(found(|_| ()), (Ok(None), Ok(false)));
        let no_directory = |file: &Path| fs::remove_dir(file.parent().unwrap()).unwrap();
        assert_eq!(found(no_directory), (Ok(None), Ok(false)));
    }

    #[test]
    fn an_image_may_have_a_link_to_a_partition_that_is_not_there() {
        const OEM: &str = "/usr/share/oem/oem-release";
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        fs::create_dir_all(host.path("/usr/share")).unwrap();
        symlink("../../oem", host.path("/usr/share/oem")).unwrap();
        assert_eq!(host.read(OEM).unwrap(), None);
        fs::create_dir(host.path("/oem")).unwrap();
        assert_eq!(host.read(OEM).unwrap(), None);
        symlink("/nowhere", host.path(OEM)).unwrap();
        assert!(host.read(OEM).is_err());
    }

    #[test]
    fn what_is_there_is_read_links_and_devices_of_nothing_too() {
        let there = |text: &str| (Ok(Some(text.as_bytes().to_vec())), Ok(true));
        assert_eq!(found(|file| fs::write(file, "A=b").unwrap()), there("A=b"));
        let linked = |file: &Path| {
            fs::write(file.with_extension("other"), "A=c").unwrap();
            symlink("update.other", file).unwrap();
        };
        assert_eq!(found(linked), there("A=c"));
        assert_eq!(found(|file| symlink("/dev/null", file).unwrap()), there(""));
    }

    #[test]
    fn everything_else_is_an_error_that_says_what_it_is() {
        type Prepare = fn(&Path);
        let cases: [(&str, Prepare); 9] = [
            ("Is a directory", |file| fs::create_dir(file).unwrap()),
            ("/etc/flatcar/update.conf is a link that leads nowhere", |file| {
                symlink("/nowhere", file).unwrap();
            }),
            ("/etc/flatcar is a link that leads nowhere", |file| {
                fs::remove_dir(file.parent().unwrap()).unwrap();
                symlink("/nowhere", file.parent().unwrap()).unwrap();
            }),
            ("symbolic link", |file| symlink("update.conf", file).unwrap()),
            ("it is a pipe, not a file", |file| {
                mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
            ("it is a device, not a file", |file| {
                symlink("/dev/zero", file).unwrap();
            }),
            ("Not a directory", |file| {
                fs::remove_dir(file.parent().unwrap()).unwrap();
                fs::write(file.parent().unwrap(), "").unwrap();
            }),
            // The address 0 of every process is mapped by none.
            ("Input/output error", |file| {
                symlink("/proc/self/mem", file).unwrap();
            }),
            ("it is longer than 1048576 bytes", |file| {
                fs::write(file, vec![b'#'; (1 << 20) + 1]).unwrap();
            }),
        ];
        for (expected, prepare) in cases {
            let (read, _) = found(prepare);
            let error = read.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn whether_a_mark_is_there_is_not_known_where_it_can_not_be_looked_at() {
        let looping = |file: &Path| symlink("update.conf", file).unwrap();
        assert!(found(looping).1.is_err());
        let nowhere = |file: &Path| symlink("/nowhere", file).unwrap();
        assert!(found(nowhere).1.is_err());
        assert_eq!(found(|file| fs::create_dir(file).unwrap()).1, Ok(true));
    }

    #[test]
    fn a_file_or_directory_without_permission_is_not_absent() {
        if Uid::effective().is_root() {
            // Root may read everything; a story reads as somebody else.
            return;
        }
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (read, _) = found(|file| {
            fs::write(file, "").unwrap();
            mode(file, 0o000);
        });
        assert!(read.unwrap_err().contains("Permission denied"));
        let (read, there) = found(|file| mode(file.parent().unwrap(), 0o000));
        assert!(read.unwrap_err().contains("Permission denied"));
        assert!(there.unwrap_err().contains("Permission denied"));
    }
}
