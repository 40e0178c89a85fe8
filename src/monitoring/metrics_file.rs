//! The file that `node_exporter` reads, and when it is written.
//!
//! ```text
//!  step                                           readers find, a crash right after it leaves
//!  1 the temporary of an earlier crash removed    the old file
//!  2 a new one made beside the file, written      the old file, and a torn temporary that nobody reads
//!  3 renamed over the file                        the new file
//! ```
//! Not synced: what a power cut takes is written anew at the next start, and a disk that sleeps is
//! left asleep.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::metrics::exposition;
use crate::config::Config;
use crate::host::{Host, Unreadable};
use crate::status::{EngineState, Snapshot, Tally};

/// Longest time between two writes, so that the file's age shows whether the daemon is alive.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Shortest time between two writes, unless the state or a counter has changed.
const BREATH: Duration = Duration::from_secs(15);

/// The metrics file, and the time of its last write.
pub(super) struct MetricsFile {
    host: Host,
    written: Option<Instant>,
    /// The state and counters in the file; a change of these is written at once.
    told: Option<(EngineState, Tally)>,
    /// Whether the last snapshot differs from the one in the file.
    is_outdated: bool,
    /// The error of the last write, which is logged once.
    trouble: Option<String>,
    last: Snapshot,
}

impl MetricsFile {
    pub(super) fn new(host: Host) -> Self {
        Self {
            host,
            written: None,
            told: None,
            is_outdated: true,
            trouble: None,
            last: Snapshot::default(),
        }
    }

    /// The time at which it should be offered a snapshot again, if none comes before.
    pub(super) fn due(&self) -> Instant {
        let wait = if self.is_outdated { BREATH } else { HEARTBEAT };
        self.written.map_or_else(Instant::now, |written| written + wait)
    }

    /// Writes the metrics of `snapshot`, if it is time.
    pub(super) async fn offer(&mut self, snapshot: &Snapshot, now: Instant) {
        if self.last != *snapshot {
            self.last.clone_from(snapshot);
            self.is_outdated = true;
        }
        let told = Some((snapshot.overview.state, snapshot.tally.clone()));
        let is_news = self.told != told;
        if !is_news && now < self.due() {
            return;
        }
        self.written = Some(now);
        self.told = told;
        self.is_outdated = false;
        self.write().await;
    }

    async fn write(&mut self) {
        let (host, snapshot) = (self.host.clone(), self.last.clone());
        let written = tokio::task::spawn_blocking(move || {
            let path = match path(&host) {
                Ok(path) => path?,
                Err(error) => {
                    return Some(format!(
                        "the file that METRICS_FILE names: {error}: {}",
                        error.source
                    ));
                }
            };
            let written = replace(&path, &exposition(&snapshot));
            written.err().map(|error| format!("{}: {error}", path.display()))
        });
        // A panic in there is in the journal already.
        let trouble = written.await.unwrap_or_default();
        if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            tracing::warn!("metrics can't be written to {trouble}");
        }
        self.trouble = trouble;
    }
}

/// The file's path by the configuration as it is now.
fn path(host: &Host) -> Result<Option<PathBuf>, Unreadable> {
    let config = Config::load(|path| host.read(path))?;
    Ok(config.metrics_file.map(|path| host.path(&path)))
}

/// Replaces the file by a world-readable one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    // Not the collector's: it reads what ends in .prom.
    hidden.push(".new");
    let temporary = path.with_file_name(hidden);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never through a link that somebody else has put there.
    let mut file = File::create_new(&temporary)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_in_the_temporarys_place_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a.prom"), directory.path().join("other"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, directory.path().join(".a.prom.new")).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
