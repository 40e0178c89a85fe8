//! Packages beside the payload that configuration names: see [`crate::extension`].
//!
//! They come first: one that is missing, or that nobody trusted has signed, costs the node neither
//! a download nor its fallback. They are put in place once the slot was read back and before its
//! script runs, which may make it bootable.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::InstallError;
use super::attempt::{AttemptSetup, at_work, blocking, trusted_keys};
use super::preflight_result::PreflightVerdict;
use crate::extension::{
    ExtensionError, ExtensionStore, ExtensionStoreError, PackageOrigin, RunningSystem, download_from_any,
    require_room,
};
use crate::payload::Trust;
use crate::plan::{Extension, ExtensionPlan};

/// Looks whether they could be kept; nothing, if none are configured.
///
/// # Errors
/// [`InstallError::ExtensionsRoom`].
pub(super) fn look(attempt: &AttemptSetup) -> Result<Option<PreflightVerdict>, InstallError> {
    let Some(plan) = &attempt.plan.extensions else {
        return Ok(None);
    };
    let path = attempt.path(&plan.directory);
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(&path);
    // An image is hardly ever smaller than its package; the last of both are there at once.
    let sizes = || plan.packages.iter().map(|package| package.size);
    let needed = sizes().fold(sizes().max().unwrap_or(0), u64::saturating_add);
    require_room(existing, needed).map_err(|source| InstallError::ExtensionsRoom(Box::new(source)))?;
    let names: Vec<_> = plan
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let names = if names.is_empty() {
        "none on offer".to_owned()
    } else {
        names.join(", ")
    };
    let path = path.join(&plan.version);
    Ok(Some(PreflightVerdict::Fine(format!(
        "{names}; for {}",
        path.display()
    ))))
}

/// Downloads all packages, and verifies and builds what is in them, where nobody uses it yet.
///
/// # Errors
/// The first that can't be had; what was staged of the others is the caller's to drop.
pub(super) async fn stage(
    attempt: &Arc<AttemptSetup>,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let Some(plan) = &attempt.plan.extensions else {
        return Ok(());
    };
    let slot = attempt.plan.target.to_string();
    on_store(attempt, move |store, _, _| store.stage(&slot).map(drop)).await?;
    for package in &plan.packages {
        build(attempt, plan, package, cancel).await?;
        tracing::info!("extension {} is verified", package.name);
    }
    on_store(attempt, |store, plan, running| {
        store.require_place(&plan.version, running)
    })
    .await
}

async fn build(
    attempt: &AttemptSetup,
    plan: &ExtensionPlan,
    package: &Extension,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    let refused = |source: ExtensionError| InstallError::Extension {
        name: package.name.clone(),
        source: Box::new(source),
    };
    let keys = Trust::Keys(trusted_keys(&attempt.plan.public_keys)?);
    let urls = [&package.url].into_iter().chain(&package.fallback_urls);
    let origins: Vec<_> = urls
        .map(|url| PackageOrigin {
            url: url.clone(),
            size: Some(package.size),
            sha256: Some(package.sha256),
            credentials: attempt.plan.credentials.clone(),
        })
        .collect();
    let staged = store(attempt, plan).staged();
    let found = tokio::select! {
        found = download_from_any(&attempt.site.fetcher, &origins, &staged) => found.map_err(refused)?,
        () = cancel.cancelled() => return Err(InstallError::Cancelled),
    };
    let name = format!("{}.raw", package.name);
    let built = at_work(attempt.site.pace.priority, move || found.build(&keys, &name));
    built.await.map_err(refused)
}

/// Lets all that was staged appear at once.
///
/// # Errors
/// [`InstallError::Extensions`]; nothing has appeared then.
pub(super) async fn place(attempt: &Arc<AttemptSetup>) -> Result<(), InstallError> {
    on_store(attempt, |store, plan, running| {
        store.place(&plan.version, running)
    })
    .await
}

/// Removes what was staged. Failing to is logged: something else has ended the attempt.
pub(super) fn drop_staged(attempt: &AttemptSetup) {
    try_on_store(attempt, |store, _, _| store.clear());
}

/// Removes what was staged or placed for a slot that can't boot.
pub(super) fn take_back(attempt: &AttemptSetup) {
    try_on_store(attempt, |store, plan, running| {
        store.clear()?;
        store.take_back(&plan.version, running)
    });
}

/// Removes those of versions that are in neither slot now.
pub(super) fn prune(attempt: &AttemptSetup) {
    try_on_store(attempt, |store, plan, running| {
        store.prune(Some(&plan.version), running)
    });
}

fn store(attempt: &AttemptSetup, plan: &ExtensionPlan) -> ExtensionStore {
    ExtensionStore::new(attempt.path(&plan.directory))
}

async fn on_store(
    attempt: &Arc<AttemptSetup>,
    work: impl FnOnce(&ExtensionStore, &ExtensionPlan, RunningSystem<'_>) -> Result<(), ExtensionStoreError>
    + Send
    + 'static,
) -> Result<(), InstallError> {
    let at = Arc::clone(attempt);
    blocking(move || match &at.plan.extensions {
        Some(plan) => Ok(work_on(&at, plan, work)?),
        None => Ok(()),
    })
    .await
}

fn try_on_store(
    attempt: &AttemptSetup,
    work: impl FnOnce(&ExtensionStore, &ExtensionPlan, RunningSystem<'_>) -> Result<(), ExtensionStoreError>,
) {
    if let Some(plan) = &attempt.plan.extensions
        && let Err(error) = work_on(attempt, plan, work)
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "extensions of no slot may be left");
    }
}

fn work_on(
    attempt: &AttemptSetup,
    plan: &ExtensionPlan,
    work: impl FnOnce(&ExtensionStore, &ExtensionPlan, RunningSystem<'_>) -> Result<(), ExtensionStoreError>,
) -> Result<(), ExtensionStoreError> {
    let slot = (!attempt.plan.target).to_string();
    let running = RunningSystem {
        slot: &slot,
        version: &plan.running_version,
    };
    work(&store(attempt, plan), plan, running)
}
