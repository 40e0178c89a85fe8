//! The manager's report for the client: its state, and why nothing happens.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file_lock;
use crate::host::{Host, Unreadable};

/// Where the manager leaves it; gone with the reboot.
const FILE: &str = "/run/update-reboot-manager/status.json";

/// The file that the reboot manager of a node holds (flock): locksmith's, so that one refuses beside the other.
pub const COORDINATOR: &str = "/run/update-engine/coordinator.conf";
/// The manager's name there.
pub const MANAGER_NAME: &str = "update_reboot_manager";

/// What the manager is at. A field that doesn't apply is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ManagerReport {
    /// What is under way, in a word.
    pub phase: String,
    /// The same in a sentence for people, with the reason why nothing happens now.
    pub summary: String,
    /// `reboot`, `etcd-lock` or `fleet-lock`.
    pub strategy: String,
    /// The id that this node holds the lock by.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The version that is to be booted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted_version: Option<String>,
    /// Why nothing happens now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// Who or what is the reason, in a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<String>,
    /// Why the engine doesn't answer, if it doesn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_silent: Option<String>,
    /// Unix time in seconds since when this node may hold the lock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holding_since: Option<i64>,
    /// Unix time in seconds since when a reboot is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<i64>,
    /// Whether the reboot window is open.
    pub window_open: bool,
    /// Unix time in seconds at which the next window opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_window: Option<i64>,
    /// The same as clocks of the windows' zone show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_window_local: Option<String>,
    /// The version that was rolled back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_version: Option<String>,
    /// The cause of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_cause: Option<String>,
}

impl ManagerReport {
    /// The one that the manager of `host` has left last; none if it hasn't run in this boot.
    ///
    /// # Errors
    /// If it is there and can't be read.
    pub fn read(host: &Host) -> Result<Option<Self>, Unreadable> {
        let unreadable = |source: io::Error| Unreadable {
            path: FILE.to_owned(),
            source,
        };
        let Some(text) = host.read(FILE)? else {
            return Ok(None);
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| unreadable(error.into()))
    }

    /// Whether the manager that leaves it on `host` is running; true as well if that can't be found out. It
    /// takes no lock, and waits for none.
    #[must_use]
    pub fn is_from_a_running_one(host: &Host) -> bool {
        let path = host.path(COORDINATOR);
        loop {
            let file = match fs::File::open(&path) {
                Ok(file) => file,
                Err(error) => return error.kind() != io::ErrorKind::NotFound,
            };
            match file_lock::is_held(&file) {
                Ok(true) => break,
                // Its holder may have put a new file in its place meanwhile.
                Ok(false) if !is_named(&file, &path) => {}
                Ok(false) => return false,
                Err(_) => return true,
            }
        }
        let is_ours = |text: String| {
            text.lines()
                .any(|line| line.strip_prefix("NAME=") == Some(MANAGER_NAME))
        };
        fs::read_to_string(&path).is_ok_and(is_ours)
    }

    /// Leaves it for everybody to read. A crash leaves the old one.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn write(&self, host: &Host) -> io::Result<()> {
        // A plain record with text for keys: it always has a JSON form.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        publish(&host.path(FILE), &format!("{text}\n"))
    }
}

/// Whether `path` names `file`.
fn is_named(file: &fs::File, path: &Path) -> bool {
    let inode = |found: fs::Metadata| (found.dev(), found.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => inode(open) == inode(named),
        // Gone: the next look says so.
        (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => false,
        _ => true,
    }
}

/// Replaces a file that everybody may read; not durably. Its directory is made.
///
/// # Errors
/// Any I/O error.
pub fn publish(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let temporary = path.with_file_name(hidden);
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never through a link that somebody else has put there.
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&temporary)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}
