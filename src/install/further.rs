//! Partitions beside the slot that a payload of major version 2 may bring: those that configuration has a pair for.
//!
//! They are treated like the slot: opened exclusively before anything is fetched, sizes checked before the first write,
//! written while the slot does not boot, synced with each checkpoint, read back before it does. Which one
//! of a pair is used is decided by the slot that boots; they have no attributes of their own.

use payload_format::{FormatError, FurtherPartitions, ManifestError, PartitionName};

use super::InstallError;
use super::attempt::Attempt;
use super::finding::{Finding, Verdict};
use crate::disk::OpenPair;
use crate::plan::FurtherTarget;

/// Those that are there.
pub(super) struct Further(Vec<(PartitionName, OpenPair)>);

impl Further {
    /// Opens what is configured. What can't be opened is left out: most payloads have nothing for it, and one that does
    /// is refused ([`explain`]).
    pub(super) fn open(attempt: &Attempt) -> Self {
        let open = |target: &FurtherTarget| match target.pair.open(&attempt.site.host, attempt.plan.target) {
            Ok(pair) => Some((target.name, pair)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "no payload may bring partition {}", target.name);
                None
            }
        };
        Self(attempt.plan.further.iter().filter_map(open).collect())
    }

    /// For people: what is configured, and whether it could be used. A target that is ours already counts as in use.
    pub(super) fn survey(attempt: &Attempt) -> (Vec<Finding>, Self) {
        let (mut findings, mut open) = (Vec::new(), Vec::new());
        for target in &attempt.plan.further {
            let subject = format!("partition {}", target.name);
            let path = target.pair.path(attempt.plan.target);
            match target.pair.open(&attempt.site.host, attempt.plan.target) {
                Ok(pair) => {
                    let found = format!("{path}, {} bytes, nobody uses it", pair.target.len());
                    findings.push(Finding::new(subject, Verdict::Fine(found)));
                    open.push((target.name, pair));
                }
                Err(source) => {
                    let name = target.name;
                    let error = InstallError::Target { name, source };
                    findings.push(Finding::new(subject, Verdict::Missing(error)));
                }
            }
        }
        (findings, Self(open))
    }

    /// What fits.
    pub(super) fn limits(&self) -> FurtherPartitions {
        FurtherPartitions::these(self.0.iter().map(|(name, pair)| (*name, pair.target.len())))
    }

    /// The pair of this name.
    ///
    /// # Errors
    /// [`InstallError::NoTarget`].
    pub(super) fn pair(&self, name: PartitionName) -> Result<&OpenPair, InstallError> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(known, _)| *known == name);
        found.map(|(_, pair)| pair).ok_or(InstallError::NoTarget(name))
    }
}

/// Says of a partition that has a target why it can't be used.
pub(super) fn explain(attempt: &Attempt, error: InstallError) -> InstallError {
    let InstallError::Format(FormatError::Manifest(ManifestError::UnknownPartition(name))) = &error else {
        return error;
    };
    let mut targets = attempt.plan.further.iter();
    let Some(target) = targets.find(|target| target.name.as_str() == name) else {
        return error;
    };
    match target.pair.open(&attempt.site.host, attempt.plan.target) {
        Ok(_) => error,
        Err(source) => InstallError::Target {
            name: target.name,
            source,
        },
    }
}
