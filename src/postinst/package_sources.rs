//! Sources of a version's packages: the server's answer that this update came from, as the
//! engine kept it, and file servers that publish the extensions that the node's own server doesn't
//! offer.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use super::release::Release;
use crate::host::{Host, Unreadable};
use crate::omaha::{PackageDownload, PackagesError, downloads};
use crate::store::{Key, PREFS_DIR, Prefs, PrefsError};

/// Journal text before the answer, of engines that only logged it.
const LOGGED_RESPONSE: &str = "Omaha request response: ";
const RESPONSE_END: &str = "/response>";

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
    journal.rmatch_indices(LOGGED_RESPONSE).find_map(|(at, _)| {
        let answer = &journal[at + LOGGED_RESPONSE.len()..];
        Some(&answer[..answer.find(RESPONSE_END)? + RESPONSE_END.len()])
    })
}

/// Default server of releases.
const PUBLIC_FILE_SERVER: &str = "https://update.release.flatcar-linux.net";
const COMMAND_LINE: &str = "/proc/cmdline";
/// Key of the kernel's command line for a server in place of [`PUBLIC_FILE_SERVER`].
const RELEASE_SERVER_KEY: &str = "flatcar.release_file_server_url";
/// Key of the kernel's command line for a server of developers' builds, which is asked last.
const DEVELOPER_SERVER_KEY: &str = "flatcar.dev_file_server_url";

/// The servers, in the order in which they are asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileServers(Vec<String>);

impl FileServers {
    /// The servers for `host`.
    ///
    /// # Errors
    /// If the kernel's command line can't be read: it may name a server that must not be passed
    /// over.
    pub(super) fn of(host: &Host) -> Result<Self, Unreadable> {
        let line = host.read(COMMAND_LINE)?.unwrap_or_default();
        Ok(Self::named(&String::from_utf8_lossy(&line)))
    }

    fn named(line: &str) -> Self {
        let releases = last(line, RELEASE_SERVER_KEY).unwrap_or(PUBLIC_FILE_SERVER);
        let servers = [Some(releases), last(line, DEVELOPER_SERVER_KEY)]
            .into_iter()
            .flatten();
        Self(servers.map(|url| url.trim_end_matches('/').to_owned()).collect())
    }

    /// URLs of `file` of `release`; none if its board isn't known.
    pub(super) fn urls<'a>(
        &'a self,
        release: &'a Release,
        file: &'a str,
    ) -> impl Iterator<Item = String> + 'a {
        let Release { board, version, .. } = release;
        let servers = self.0.iter().filter(|_| !board.is_empty());
        servers.map(move |server| format!("{server}/{board}/{version}/{file}"))
    }
}

/// Value of the last word that sets `key`, which is the one that counts.
fn last<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let words = line.split_ascii_whitespace().rev();
    let mut values = words.filter_map(|word| word.trim_matches('"').strip_prefix(key)?.strip_prefix('='));
    let value = values.next()?.trim_matches('"');
    (!value.is_empty()).then_some(value)
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

    #[test]
    fn a_command_line_that_cannot_be_read_may_name_a_server() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let host = Host::new(root.path());
        assert!(FileServers::of(&host).is_ok_and(|servers| servers.0 == [PUBLIC_FILE_SERVER]));
        std::fs::create_dir_all(host.path(COMMAND_LINE))?;
        assert!(FileServers::of(&host).is_err());
        Ok(())
    }

    #[test]
    fn servers_of_the_command_line_take_the_public_ones_place() {
        for (line, expected) in [
            ("quiet root=LABEL=ROOT\n", &[PUBLIC_FILE_SERVER][..]),
            (
                "flatcar.release_file_server_url=http://own/files/ quiet",
                &["http://own/files"],
            ),
            ("flatcar.release_file_server_url=\"http://own\"", &["http://own"]),
            ("\"flatcar.release_file_server_url=http://own\"", &["http://own"]),
            // The last one counts, and an empty one is none.
            (
                "flatcar.release_file_server_url=http://a flatcar.release_file_server_url=http://b",
                &["http://b"],
            ),
            (
                "flatcar.release_file_server_url=http://a flatcar.release_file_server_url=",
                &[PUBLIC_FILE_SERVER],
            ),
            (
                "flatcar.dev_file_server_url=http://dev",
                &[PUBLIC_FILE_SERVER, "http://dev"],
            ),
            (
                "flatcar.dev_file_server_url=http://dev flatcar.release_file_server_url=http://own",
                &["http://own", "http://dev"],
            ),
            // Others' words.
            (
                "flatcar.release_file_server_url_old=http://a x.flatcar.release_file_server_url=http://a",
                &[PUBLIC_FILE_SERVER],
            ),
        ] {
            assert_eq!(FileServers::named(line).0, expected, "{line}");
        }
    }
}
