//! The server's answer that this update came from, as the engine kept it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use crate::host::Host;
use crate::omaha::{PackageDownload, PackagesError, downloads};
use crate::store::{Key, PREFS_DIR, Prefs, PrefsError};

/// Journal text before the answer, of engines that only logged it.
const LOGGED: &str = "Omaha request response: ";
const END: &str = "/response>";

/// Error of reading the answer.
#[derive(Debug, thiserror::Error)]
pub enum StoredResponseError {
    /// The preference can't be read.
    #[error(transparent)]
    Prefs(#[from] PrefsError),
    /// The text is no answer.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// The age of the file can't be read.
    #[error("cannot look at {}", path.display())]
    Stat {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system call.
        source: io::Error,
    },
}

/// The packages on offer; none if no answer belongs to this update. An engine that keeps answers
/// writes them after `previous-version`, so that one that is older belongs to an earlier update.
pub(super) fn offered(host: &Host) -> Result<Vec<PackageDownload>, StoredResponseError> {
    let prefs = Prefs::new(host.path(PREFS_DIR));
    if !is_fresh(host)?
        && host.is_real()
        && let Some(body) = logged()
    {
        prefs.set_full_response(body.as_bytes())?;
    }
    if !is_fresh(host)? {
        return Ok(Vec::new());
    }
    let body = prefs.get(Key::FullResponse)?.unwrap_or_default();
    Ok(downloads(body.as_bytes())?)
}

fn is_fresh(host: &Host) -> Result<bool, StoredResponseError> {
    let response = modified(host, Key::FullResponse)?;
    let previous = modified(host, Key::PreviousVersion)?;
    Ok(response.is_some() && response >= previous)
}

fn modified(host: &Host, key: Key) -> Result<Option<SystemTime>, StoredResponseError> {
    let path = host.path(PREFS_DIR).join(key.name());
    match fs::metadata(&path).and_then(|found| found.modified()) {
        Ok(time) => Ok(Some(time)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoredResponseError::Stat { path, source }),
    }
}

/// The last answer in this boot's journal.
fn logged() -> Option<String> {
    let arguments = ["-b", "0", "-u", "update-engine", "-o", "cat", "--no-pager"];
    let journal = Command::new("journalctl").args(arguments).output().ok()?;
    last_answer(&String::from_utf8_lossy(&journal.stdout)).map(str::to_owned)
}

fn last_answer(journal: &str) -> Option<&str> {
    journal.rmatch_indices(LOGGED).find_map(|(at, _)| {
        let answer = &journal[at + LOGGED.len()..];
        Some(&answer[..answer.find(END)? + END.len()])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_that_is_complete_counts() {
        let journal = "I Omaha request response: <response>1</response>\nx\n\
            I Omaha request response: <response>\n2</response>\nI Omaha request response: cut";
        assert_eq!(last_answer(journal), Some("<response>\n2</response>"));
        assert_eq!(last_answer("nothing"), None);
    }
}
