//! The prospect of a content package, for a dry run: how many bytes of it an attempt would fetch. For
//! that its metadata is fetched and the running slot searched.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::metadata;
use super::survey::Survey;
use super::{ContentFailure, explained, tries};
use crate::amounts::bytes;
use crate::install::InstallError;
use crate::install::attempt::{AttemptSetup, at_work};
use crate::install::preflight_result::{PreflightResult, PreflightVerdict};
use crate::install::saved::Saved;
use crate::install::targets::Targets;
use crate::journal::chain;
use crate::plan::ContentPackage;

/// See the module. Changes nothing. A package that would be given up makes no update fail: the
/// payload is fetched then. The slot is not held any more once this returns.
pub(in crate::install) async fn prospect(
    attempt: &Arc<AttemptSetup>,
    targets: &Arc<Targets>,
    package: &ContentPackage,
    patience: Duration,
) -> PreflightResult {
    let name = &package.name;
    let verdict = if Saved::load(attempt).is_some() {
        let why = "an earlier attempt has brought a part of the payload, which is gone on with";
        PreflightVerdict::Fine(format!("{name} is not looked at: {why}"))
    } else {
        let cancel = CancellationToken::new();
        let mut looking = pin!(look(attempt, targets, package, &cancel));
        match timeout(patience, &mut looking).await {
            Ok(Ok(told)) => PreflightVerdict::Fine(told),
            Ok(Err(failure)) => {
                let why = chain(&explained(targets, failure));
                PreflightVerdict::Standing(format!(
                    "{name} would be given up, and the payload fetched: {why}"
                ))
            }
            Err(_) => {
                cancel.cancel();
                // It holds the slot until it has an end.
                let _ = looking.await;
                let seconds = patience.as_secs();
                let why = format!("how much of it would be fetched is not known within {seconds} s");
                PreflightVerdict::Standing(format!("{name} is tried first; {why}"))
            }
        }
    };
    PreflightResult::new("content payload", verdict)
}

async fn look(
    attempt: &Arc<AttemptSetup>,
    targets: &Arc<Targets>,
    package: &ContentPackage,
    cancel: &CancellationToken,
) -> Result<String, ContentFailure> {
    let priority = attempt.site.pace.priority;
    let (of, looked_at) = (Arc::clone(attempt), package.clone());
    at_work(priority, move || tries::earlier(&of, &looked_at)).await?;
    let fetched = tokio::select! {
        fetched = metadata::fetch(attempt, targets, package) => fetched?,
        () = cancel.cancelled() => return Err(InstallError::Cancelled.into()),
    };
    let (at, to, stop) = (Arc::clone(attempt), Arc::clone(targets), cancel.clone());
    let survey = at_work(priority, move || Survey::make(&at, &to, fetched, &stop)).await?;
    Ok(format!(
        "{} is tried first: {} of its {} would be fetched, in {} ranges",
        package.name,
        bytes(survey.expected()),
        bytes(package.size),
        survey.ranges.len()
    ))
}
