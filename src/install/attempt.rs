//! The data that every phase of one installation shares, and the public keys that all trust.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use payload_format::PublicKeys;

use super::content::ContentLog;
use super::{InstallError, Pace, PostinstMode, Slots};
use crate::disk::Priority;
use crate::fetch::Fetcher;
use crate::host::Host;
use crate::plan::InstallPlan;

/// What an installation works with.
#[derive(Clone)]
pub struct Site {
    /// The machine: boot partition, state, where scripts run.
    pub host: Host,
    /// The slots of the disk.
    pub slots: Arc<dyn Slots>,
    /// The client that downloads.
    pub fetcher: Fetcher,
    /// Whether the image's script is run.
    pub postinst: PostinstMode,
    /// Limits of processor, disk, memory and bandwidth.
    pub pace: Pace,
}

/// One attempt: what to do, and with what.
pub(super) struct AttemptSetup {
    pub(super) plan: InstallPlan,
    pub(super) site: Site,
    /// What comes of the plan's content package.
    pub(super) content: ContentLog,
}

impl AttemptSetup {
    /// Where a path of the plan lies.
    pub(super) fn path(&self, absolute: &str) -> PathBuf {
        self.site.host.path(absolute)
    }
}

/// Runs what blocks on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Blocking tasks are never aborted, so that this is a panic: passed on.
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// Runs what takes the processor and the disk, on a thread of its own that claims them with
/// `priority`; so do the threads that it starts. The runtime's own threads go on to other work, and
/// claims can't be taken back.
pub(super) async fn at_work<T: Send + 'static>(
    priority: Priority,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    if priority == Priority::Normal {
        return blocking(work).await;
    }
    let modest = move || {
        if let Err(error) = priority.claim() {
            tracing::warn!(
                error = &error as &dyn Error,
                "the installation claims more than it should"
            );
        }
        work()
    };
    blocking(move || match thread::scope(|scope| scope.spawn(modest).join()) {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
    .await
}

/// Reads all trusted keys.
///
/// # Errors
/// If there are none, or any of them can't be used: a key that is there but unreadable is a mistake
/// to be told about, not to be worked around.
pub(super) fn trusted_keys(paths: &[PathBuf]) -> Result<PublicKeys, InstallError> {
    if paths.is_empty() {
        return Err(InstallError::NoKeys);
    }
    let pems = paths
        .iter()
        .map(|path| {
            std::fs::read_to_string(path).map_err(|source| InstallError::KeyFile {
                path: path.clone(),
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    PublicKeys::from_pems(&pems).map_err(InstallError::Keys)
}
