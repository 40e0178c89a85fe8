//! Partitions beside the slot that a payload of major version 2 may bring: those that configuration has a pair for.
//!
//! They must be partitions of the disk that holds the slots: names by label lead to whichever disk has it.
//! They are treated like the slot: opened exclusively before anything is fetched, sizes checked before the first write,
//! written while the slot does not boot, synced with each checkpoint, read back before it does. Which one
//! of a pair is used is decided by the slot that boots; they have no attributes of their own.

use std::sync::Arc;

use payload_format::{FormatError, FurtherPartitions, ManifestError, PartitionName};

use super::InstallError;
use super::attempt::Attempt;
use super::preflight_result::{PreflightResult, Verdict};
use crate::amounts::bytes;
use crate::disk::{OpenPair, PairError, PartitionPair};
use crate::plan::FurtherTarget;

/// Those that are there, and why the others aren't.
pub(super) struct Further {
    open: Vec<(PartitionName, OpenPair)>,
    /// Kept: to look again would tell of another moment.
    refused: Vec<(PartitionName, Arc<PairError>)>,
}

impl Further {
    /// Opens what is configured. What can't be opened is left out: most payloads have nothing for it, and one that does
    /// is refused ([`Self::explain`]).
    pub(super) fn open(attempt: &Attempt) -> Self {
        let (mut open, mut refused) = (Vec::new(), Vec::new());
        for FurtherTarget { name, pair } in &attempt.plan.further {
            match opened(attempt, pair) {
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

    /// For people: what is configured, and whether it could be used. A target that is ours already counts as in use.
    pub(super) fn survey(attempt: &Attempt) -> (Vec<PreflightResult>, Self) {
        let (mut findings, mut open, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for target in &attempt.plan.further {
            let subject = format!("partition {}", target.name);
            let path = target.pair.path(attempt.plan.target);
            match opened(attempt, &target.pair) {
                Ok(pair) => {
                    let found = format!("{path}, {}, nobody uses it", bytes(pair.target.len()));
                    findings.push(PreflightResult::new(subject, Verdict::Fine(found)));
                    open.push((target.name, pair));
                }
                Err(source) => {
                    let (name, source) = (target.name, Arc::new(source));
                    refused.push((name, Arc::clone(&source)));
                    let error = InstallError::Target { name, source };
                    findings.push(PreflightResult::new(subject, Verdict::Missing(error)));
                }
            }
        }
        (findings, Self { open, refused })
    }

    /// What fits.
    pub(super) fn limits(&self) -> FurtherPartitions {
        FurtherPartitions::these(self.open.iter().map(|(name, pair)| (*name, pair.target.len())))
    }

    /// The pair of this name.
    ///
    /// # Errors
    /// [`InstallError::Target`] if it can't be used, [`InstallError::NoTarget`] if there is none.
    pub(super) fn pair(&self, name: PartitionName) -> Result<&OpenPair, InstallError> {
        let mut pairs = self.open.iter();
        let found = pairs.find(|(known, _)| *known == name);
        found.map(|(_, pair)| pair).ok_or_else(|| {
            self.refusal(name.as_str())
                .unwrap_or(InstallError::NoTarget(name))
        })
    }

    /// Says of a partition that has a target why it can't be used.
    pub(super) fn explain(&self, error: InstallError) -> InstallError {
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
fn opened(attempt: &Attempt, pair: &PartitionPair) -> Result<OpenPair, PairError> {
    let own = attempt.site.slots.own_disk().map_err(Box::new)?;
    pair.open(&attempt.site.host, attempt.plan.target, &own)
}
