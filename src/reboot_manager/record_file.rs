//! The file of the hold record.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::state::HoldRecord;
use crate::host::Host;
use crate::journal::chain;
use crate::store::record::{self, RecordError, Version};

const FILE: &str = "/var/lib/update-reboot-manager/hold";
const VERSION: Version = Version(1);
/// Bytes; a cause is a sentence.
const MOST: usize = 64 << 10;

/// What the file holds. Fields that a later version adds are skipped.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    #[serde(flatten)]
    record: HoldRecord,
    /// Unix time in seconds at which this node may have become a holder.
    #[serde(default)]
    since: i64,
    /// Which lock it is, by its name; none from an earlier version.
    #[serde(default)]
    lock: Option<String>,
}

/// What an earlier process has left.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeftRecord {
    /// Nothing: this node is no holder.
    Nothing,
    /// It may be one.
    Hold(HoldRecord),
    /// It may be one; for what is lost.
    Lost,
}

/// The record on the disk, and since when it is there.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    since: Option<i64>,
    /// The lock that this node takes now.
    lock: String,
    /// The one that the record was written for, if that is known.
    left: Option<String>,
}

impl RecordFile {
    /// Opens it for the lock of this name, and gives what an earlier process has left. What is damaged is lost: the engine says whether a slot is on
    /// trial or was left, and the lock who holds it.
    ///
    /// # Errors
    /// If the file can't be read: it may be there, and well, a moment later.
    pub(super) fn open(host: &Host, lock: &str) -> Result<(Self, LeftRecord), RecordError> {
        let path = host.path(FILE);
        let lost = |error: &dyn std::error::Error| {
            tracing::error!("the record of the reboot lock is lost: {}", chain(error));
            LeftRecord::Lost
        };
        let (mut since, mut left_lock) = (None, None);
        let left = match record::load_short(&path, VERSION, MOST) {
            Ok(None) => LeftRecord::Nothing,
            Ok(Some(bytes)) => match serde_json::from_slice::<Contents>(&bytes) {
                Ok(contents) => {
                    since = Some(contents.since);
                    left_lock = contents.lock;
                    LeftRecord::Hold(contents.record)
                }
                Err(error) => lost(&error),
            },
            Err(error @ RecordError::Read { .. }) => return Err(error),
            Err(error) => lost(&error),
        };
        let file = Self {
            path,
            since,
            lock: lock.to_owned(),
            left: left_lock,
        };
        Ok((file, left))
    }

    /// Unix time in seconds at which this node may have become a holder, if it may be one.
    pub(super) const fn since(&self) -> Option<i64> {
        self.since
    }

    /// The lock that the record was written for, if it is another one than is taken now.
    pub(super) fn other_lock(&self) -> Option<&str> {
        let is_other = |left: &&str| !left.is_empty() && *left != self.lock;
        self.left.as_deref().filter(is_other)
    }

    /// Writes it durably. Blocks.
    pub(super) fn save(&mut self, record: &HoldRecord, now: i64) -> Result<(), RecordError> {
        let since = self.since.unwrap_or(now);
        let contents = Contents {
            record: record.clone(),
            since,
            lock: Some(self.lock.clone()),
        };
        // Plain records with text for keys: they always have a JSON form.
        let bytes = serde_json::to_vec(&contents).unwrap_or_default();
        record::save(&self.path, VERSION, &bytes)?;
        self.since = Some(since);
        Ok(())
    }

    /// Removes it durably. Blocks.
    pub(super) fn forget(&mut self) -> Result<(), RecordError> {
        self.since = None;
        record::remove(&self.path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::super::{FailedVersion, Reason, WantedReboot};
    use super::*;

    fn record() -> HoldRecord {
        HoldRecord {
            boot: "1".to_owned(),
            wanted: Some(WantedReboot {
                reason: Reason::Update,
                version: "2.0.0".to_owned(),
                slot: Some("USR-B".to_owned()),
            }),
            prepared: true,
            failed: Some(FailedVersion {
                version: "1.9.0".to_owned(),
                cause: "bad".to_owned(),
            }),
            known_rollback: Some("1.8.0".to_owned()),
            known_installed: Some(7),
            ordered: true,
        }
    }

    #[test]
    fn a_record_and_its_beginning_survive_the_process() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let (mut file, none) = RecordFile::open(&host, "lock").unwrap();
        assert_eq!((none, file.since()), (LeftRecord::Nothing, None));
        file.save(&record(), 100).unwrap();
        file.save(&record(), 200).unwrap();
        let (other, _) = RecordFile::open(&host, "another lock").unwrap();
        assert_eq!(other.other_lock(), Some("lock"));
        let (mut file, found) = RecordFile::open(&host, "lock").unwrap();
        assert_eq!(file.other_lock(), None);
        assert_eq!((found, file.since()), (LeftRecord::Hold(record()), Some(100)));
        file.forget().unwrap();
        assert_eq!(RecordFile::open(&host, "lock").unwrap().1, LeftRecord::Nothing);
    }

    #[test]
    fn what_a_later_version_writes_is_read_and_what_is_damaged_is_called_lost() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        let path = host.path(FILE);
        let later = br#"{"boot":"1","wanted":null,"colour":"red","since":7}"#;
        record::save(&path, VERSION, later).unwrap();
        let (file, found) = RecordFile::open(&host, "lock").unwrap();
        let LeftRecord::Hold(found) = found else {
            panic!("{found:?}");
        };
        assert_eq!((found.boot.as_str(), file.since()), ("1", Some(7)));
        // No less is asked of a wish that isn't known: the lock ends with the trial.
        let later = br#"{"boot":"1","wanted":{"reason":"moonshine","version":"2","slot":null}}"#;
        record::save(&path, VERSION, later).unwrap();
        let (_, found) = RecordFile::open(&host, "lock").unwrap();
        let LeftRecord::Hold(found) = found else {
            panic!("{found:?}");
        };
        assert_eq!(found.wanted.unwrap().reason, Reason::Update);
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(RecordFile::open(&host, "lock").unwrap().1, LeftRecord::Lost);
        record::save(&path, VERSION, b"no JSON").unwrap();
        assert_eq!(RecordFile::open(&host, "lock").unwrap().1, LeftRecord::Lost);
    }

    #[test]
    fn what_can_not_be_read_now_is_not_taken_for_nothing() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path());
        std::fs::create_dir_all(host.path(FILE)).unwrap();
        assert!(matches!(
            RecordFile::open(&host, "lock"),
            Err(RecordError::Read { .. })
        ));
    }
}
