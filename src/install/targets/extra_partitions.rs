//! Extra partitions as image targets: those that configuration has a pair for.
//!
//! They must be partitions of the disk that holds the slots: names by label lead to whichever disk
//! has it. They are treated like the slot: opened exclusively before anything is fetched, sizes
//! checked before the first write, written while the slot does not boot, synced with each
//! checkpoint, read back before it does. Which one of a pair is used is decided by the slot that
//! boots; they have no attributes of their own.

use std::path::PathBuf;
use std::sync::Arc;

use payload_format::{
    ExtraPartitionLimits, FormatError, Image, ImageInfo, ImageKind, ManifestError, PartitionName,
};
use tokio_util::sync::CancellationToken;

use super::{ImageDevice, ImageTarget, hash, source_hash};
use crate::amounts::bytes;
use crate::disk::{OpenPair, OwnDisk, PairError, PartitionPair, SlotName};
use crate::host::Host;
use crate::install::InstallError;
use crate::install::attempt::AttemptSetup;
use crate::install::preflight_result::{PreflightResult, PreflightVerdict};
use crate::install::read_back::ReadBack;
use crate::plan::ExtraPartition;

/// Those that are there, and why the others aren't.
pub(in crate::install) struct ExtraPartitions {
    open: Vec<(PartitionName, OpenPair)>,
    /// Kept: to look again would tell of another moment.
    refused: Vec<(PartitionName, Arc<PairError>)>,
}

impl ExtraPartitions {
    /// Opens what is configured. What can't be opened is left out: most payloads have nothing for
    /// it, and one that does is refused ([`Self::explain`]).
    pub(in crate::install) fn open(attempt: &AttemptSetup) -> Self {
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        for ExtraPartition { name, pair } in &attempt.plan.extra_partitions {
            match opened(attempt, pair, PartitionPair::open) {
                Ok(pair) => open.push((*name, pair)),
                Err(error) => {
                    let told = &error as &dyn std::error::Error;
                    tracing::warn!(error = told, "no payload may bring partition {name}");
                    refused.push((*name, Arc::new(error)));
                }
            }
        }
        Self { open, refused }
    }

    /// For people: what is configured, and whether it could be used. A target that is ours already
    /// counts as in use.
    pub(in crate::install) fn survey(attempt: &AttemptSetup) -> (Vec<PreflightResult>, Self) {
        let (mut findings, mut open, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for target in &attempt.plan.extra_partitions {
            let subject = format!("partition {}", target.name);
            let path = target.pair.path(attempt.plan.target);
            match opened(attempt, &target.pair, PartitionPair::reserve) {
                Ok(pair) => {
                    let found = format!("{path}, {}, nobody uses it", bytes(pair.target.len()));
                    findings.push(PreflightResult::new(subject, PreflightVerdict::Fine(found)));
                    open.push((target.name, pair));
                }
                Err(source) => {
                    let (name, source) = (target.name, Arc::new(source));
                    refused.push((name, Arc::clone(&source)));
                    let error = InstallError::Target { name, source };
                    findings.push(PreflightResult::new(subject, PreflightVerdict::Missing(error)));
                }
            }
        }
        (findings, Self { open, refused })
    }

    /// The size, in bytes, of each partition that a payload may bring.
    pub(in crate::install) fn limits(&self) -> ExtraPartitionLimits {
        ExtraPartitionLimits::these(self.open.iter().map(|(name, pair)| (*name, pair.target.len())))
    }

    /// The pair of this name.
    ///
    /// # Errors
    /// [`InstallError::Target`] if it can't be used, [`InstallError::NoTarget`] if there is none.
    pub(in crate::install) fn pair(&self, name: PartitionName) -> Result<&OpenPair, InstallError> {
        let mut pairs = self.open.iter();
        let found = pairs.find(|(known, _)| *known == name);
        found.map(|(_, pair)| pair).ok_or_else(|| {
            self.refusal(name.as_str())
                .unwrap_or(InstallError::NoTarget(name))
        })
    }

    /// Says of a partition that has a target why it can't be used.
    pub(in crate::install) fn explain(&self, error: InstallError) -> InstallError {
        match &error {
            InstallError::Format(FormatError::Manifest(ManifestError::UnknownPartition(name))) => {
                self.refusal(name).unwrap_or(error)
            }
            _ => error,
        }
    }

    fn refusal(&self, partition: &str) -> Option<InstallError> {
        let mut refused = self.refused.iter();
        let (name, source) = refused.find(|(name, _)| name.as_str() == partition)?;
        Some(InstallError::Target {
            name: *name,
            source: Arc::clone(source),
        })
    }
}

/// The pair, if both of it are partitions of the disk that holds the slots.
fn opened(
    attempt: &AttemptSetup,
    pair: &PartitionPair,
    open: fn(&PartitionPair, &Host, SlotName, &OwnDisk) -> Result<OpenPair, PairError>,
) -> Result<OpenPair, PairError> {
    let own = attempt.site.slots.own_disk().map_err(Box::new)?;
    open(pair, &attempt.site.host, attempt.plan.target, &own)
}

/// Where the partition that payloads call `name` lies.
pub(in crate::install) fn path_of_partition(attempt: &AttemptSetup, name: PartitionName) -> PathBuf {
    let mut targets = attempt.plan.extra_partitions.iter();
    let target = targets.find(|target| target.name == name);
    // Invariant: only those that have a target are built.
    target.map_or_else(PathBuf::new, |target| {
        attempt.path(&target.pair.path(attempt.plan.target))
    })
}

/// An extra partition as an image target.
pub(super) struct ExtraPartitionTarget<'a> {
    pub(super) attempt: &'a AttemptSetup,
    pub(super) name: PartitionName,
    pub(super) pair: &'a OpenPair,
}

impl ExtraPartitionTarget<'_> {
    fn path(&self) -> PathBuf {
        path_of_partition(self.attempt, self.name)
    }
}

impl ImageTarget for ExtraPartitionTarget<'_> {
    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn open_source(&self, image: &Image) -> Result<Option<ImageDevice>, InstallError> {
        Ok(image.is_delta().then(|| Arc::clone(&self.pair.source)))
    }

    fn open(&self, _: &Image) -> Result<ImageDevice, InstallError> {
        Ok(Arc::clone(&self.pair.target))
    }

    fn check_source(&self, old: &ImageInfo, cancel: &CancellationToken) -> Result<(), InstallError> {
        let name = self.name;
        let source = Arc::clone(&self.pair.source);
        let found = source_hash(source, old.size, &format_args!("partition {name}"), cancel)?;
        if found == old.sha256 {
            return Ok(());
        }
        Err(InstallError::WrongSourcePartition {
            name,
            expected: old.sha256,
            found,
        })
    }

    fn verify(
        &self,
        new: ImageInfo,
        begun: Option<ReadBack>,
        cancel: &CancellationToken,
    ) -> Result<(), InstallError> {
        let path = self.path();
        let begun = begun.unwrap_or_else(|| ReadBack::new(Arc::clone(&self.pair.target), new.size));
        let found = hash(begun, &path.display(), cancel)?;
        if found == new.sha256 {
            return Ok(());
        }
        Err(InstallError::FileVerification {
            image: ImageKind::ExtraPartition(self.name),
            path,
            expected: Box::new(new),
            found,
            size: new.size,
        })
    }
}
