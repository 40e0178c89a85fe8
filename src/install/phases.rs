//! The phases of an attempt, as a chain of values. See the [module](super) for the drawing.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use payload_format::{ImageKind, ImageRelease};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptSetup, Site, at_work, blocking};
use super::content::{self, ContentLog};
use super::postinstall::{self, Confinement, PostinstMode, PostinstOutcome, ScriptArguments};
use super::preflight;
use super::preflight_result::{PAYLOAD_LOOK, PreflightResult, PreflightVerdict};
use super::saved::Saved;
use super::staged_image::VerifiedImages;
use super::targets::{ExtraPartitions, Targets, post_pcr_policy};
use super::tested::Tested;
use super::{InstallError, PostinstError, extensions, image_check, manifest_checks, pipeline};
use crate::disk::give_back_free_memory;
use crate::host::subprocess::SubprocessError;
use crate::plan::{ImageHashes, InstallPlan};

/// An update that was decided on; nothing was looked at yet.
pub struct Installer {
    attempt: Arc<AttemptSetup>,
}

impl Installer {
    /// An installation of `plan`.
    #[must_use]
    pub fn new(plan: InstallPlan, site: Site) -> Self {
        Self {
            attempt: Arc::new(AttemptSetup {
                plan,
                site,
                content: ContentLog::default(),
            }),
        }
    }

    /// The preflight: looks at everything that can be refused before the first byte is fetched. Changes nothing.
    ///
    /// # Errors
    /// Keys missing or unusable, running slot not good, target busy, boot partition full.
    pub async fn prepare(self) -> Result<Ready, InstallError> {
        let attempt = self.attempt;
        blocking(move || {
            let slot = preflight::check(&attempt)?;
            let extra_partitions = ExtraPartitions::open(&attempt);
            let targets = Arc::new(Targets {
                slot,
                extra_partitions,
            });
            let saved = Saved::load(&attempt);
            Ok(Ready {
                attempt,
                targets,
                saved,
            })
        })
        .await
    }
}

impl Installer {
    /// Looks at the same and more, and says of each thing how it is, for people: also at the
    /// payload's first bytes, which are waited for as long as `patience`. Changes nothing and keeps
    /// nothing open. A source of a delta is not read.
    pub async fn examine(self, patience: Duration) -> Vec<PreflightResult> {
        let attempt = self.attempt;
        let at = Arc::clone(&attempt);
        let (mut findings, targets) = blocking(move || {
            let (mut findings, slot) = preflight::survey(&at);
            // After the slot: a name that leads to it is in use then.
            let (of_extra_partitions, extra_partitions) = ExtraPartitions::survey(&at);
            findings.extend(of_extra_partitions);
            let targets = slot.map(|slot| {
                Arc::new(Targets {
                    slot,
                    extra_partitions,
                })
            });
            (findings, targets)
        })
        .await;
        let Some(targets) = targets else { return findings };
        let of_content = async {
            let package = attempt.plan.content.as_ref()?;
            Some(Box::pin(content::prospect(&attempt, &targets, package, patience)).await)
        };
        // Both at once: whoever has asked doesn't wait for long.
        let preview = manifest_checks::preview(&attempt, &targets);
        let (content, payload) = tokio::join!(of_content, timeout(patience, preview));
        findings.extend(content);
        let verdict = match payload {
            Ok(Ok(results)) => {
                findings.extend(results);
                return findings;
            }
            Ok(Err(error)) => PreflightVerdict::Refused(error),
            Err(_) => PreflightVerdict::Doubtful(format!(
                "its server gave no manifest within {} s",
                patience.as_secs()
            )),
        };
        findings.push(PreflightResult::new(PAYLOAD_LOOK, verdict));
        findings
    }
}

/// The target is ours alone; nothing was changed.
pub struct Ready {
    attempt: Arc<AttemptSetup>,
    targets: Arc<Targets>,
    saved: Option<Saved>,
}

impl Ready {
    /// Whether an earlier attempt at the same payload is taken up again.
    #[must_use]
    pub const fn resumes(&self) -> bool {
        self.saved.is_some()
    }

    /// Bytes of the payload that need not be fetched again; 0 if no attempt is taken up, or if its
    /// checkpoint turns out to be useless.
    #[must_use]
    pub fn resumed_at(&self) -> u64 {
        self.saved.as_ref().map_or(0, Saved::offset)
    }

    /// What comes of the plan's content package, while the download runs and after it.
    #[must_use]
    pub fn content(&self) -> ContentLog {
        self.attempt.content.clone()
    }

    /// Downloads the payload into the slot; or its image by the plan's content package. `progress`
    /// hears how many bytes have come, those of an attempt that is taken up again included. It
    /// begins anew if the content package is given up.
    ///
    /// When this returns, the slot holds what the payload says and all of it was signed; whether
    /// the medium kept it is not known yet.
    ///
    /// # Errors
    /// Anything from the network to the last sync. Until the manifest has passed all checks nothing
    /// was changed; afterwards the slot is unbootable.
    pub async fn download(
        self,
        progress: &mut (dyn FnMut(u64) + Send),
        cancel: &CancellationToken,
    ) -> Result<Downloaded, InstallError> {
        let attempt = Arc::clone(&self.attempt);
        let downloaded = self.stream(progress, cancel).await;
        let failed = downloaded.is_err();
        let discard = downloaded.as_ref().is_err_and(|error| !error.leaves_checkpoint());
        blocking(move || {
            if discard {
                Saved::discard(&attempt);
            }
            if failed {
                extensions::drop_staged(&attempt);
            }
            give_back_free_memory();
        })
        .await;
        downloaded
    }

    async fn stream(
        self,
        progress: &mut (dyn FnMut(u64) + Send),
        cancel: &CancellationToken,
    ) -> Result<Downloaded, InstallError> {
        let Self {
            attempt,
            targets,
            saved,
        } = self;
        extensions::stage(&attempt, cancel).await?;
        // Bytes of the payload that are there already are not thrown away.
        let content = match saved {
            None => Box::pin(content::install(&attempt, &targets, progress, cancel)).await?,
            Some(_) => None,
        };
        let written = match content {
            Some(written) => written,
            None => pipeline::run(&attempt, &targets, saved, progress, cancel).await?,
        };
        Ok(Downloaded {
            attempt,
            targets,
            written,
        })
    }
}

/// The slot is written, unbootable, and holds what a trusted key has signed.
pub struct Downloaded {
    attempt: Arc<AttemptSetup>,
    targets: Arc<Targets>,
    written: pipeline::Written,
}

impl Downloaded {
    /// What was written.
    #[must_use]
    pub fn image(&self) -> ImageHashes {
        manifest_checks::made_by(&self.written.manifest)
    }

    /// Reads slot, kernel and PCR policy back from the medium; of the slot, what was not read while
    /// it was written. Then slot and kernel are held against each other.
    ///
    /// # Errors
    /// If anything differs from what the payload says, can't be read, or `cancel` was called; if
    /// the kernel is that of another image, or of another machine.
    pub async fn verify(self, cancel: &CancellationToken) -> Result<Verified, InstallError> {
        let Self {
            attempt,
            targets,
            written,
        } = self;
        let pipeline::Written { manifest, read_back } = written;
        let cancel = cancel.clone();
        at_work(attempt.site.pace.priority, move || {
            let verified = targets.verify(&attempt, (&manifest, read_back), &cancel);
            // One that the payload doesn't bring is still the old image's: its script may replace it.
            let brings_kernel = manifest.image(ImageKind::Kernel).is_some();
            let verified = match verified {
                Ok(()) if brings_kernel => image_check::kernel(&attempt, manifest.partition().new.size),
                verified => verified,
            };
            if verified.as_ref().is_err_and(|e| !e.leaves_checkpoint()) {
                Saved::discard(&attempt);
            }
            if verified.is_err() {
                extensions::drop_staged(&attempt);
            }
            verified?;
            let pcr_policy = manifest.image(ImageKind::PcrPolicy).is_some();
            let (images, release) = (VerifiedImages::of(&manifest), manifest.release().cloned());
            drop(manifest);
            // Buffers and manifest: a daemon that waits for weeks must not keep them.
            give_back_free_memory();
            Ok(Verified {
                attempt,
                images,
                release,
                pcr_policy,
            })
        })
        .await
    }
}

/// The slot was read back and is right; it is unbootable still.
pub struct Verified {
    attempt: Arc<AttemptSetup>,
    images: VerifiedImages,
    /// What the manifest says of the image, if it does.
    release: Option<ImageRelease>,
    pcr_policy: bool,
}

impl Verified {
    /// Seals the slot and looks into it; then puts extensions in place, posts the PCR policy, and
    /// runs the image's script. `cancel` kills the script, and counts until this returns.
    ///
    /// # Errors
    /// Whatever says no, such as an image for another board; the slot is unbootable again then, whatever the script did, and its
    /// extensions are gone.
    pub async fn postinstall(self, cancel: &CancellationToken) -> Result<Tested, InstallError> {
        let (attempt, images) = (Arc::clone(&self.attempt), self.images.clone());
        let tested = match self.run(cancel).await {
            // It came when nothing that looks at it was under way.
            Ok(_) if cancel.is_cancelled() => Err(InstallError::Cancelled),
            tested => tested,
        };
        match tested {
            Ok((outcome, lost_extensions)) => Ok(Tested {
                attempt,
                images,
                outcome,
                lost_extensions,
            }),
            Err(error) => {
                blocking(move || make_unbootable_again(&attempt)).await;
                Err(error)
            }
        }
    }

    /// How the script ended, and which extensions are lost with the image.
    async fn run(self, cancel: &CancellationToken) -> Result<(PostinstOutcome, Vec<String>), InstallError> {
        let Self {
            attempt,
            images,
            release,
            pcr_policy,
        } = self;
        let policy = pcr_policy.then(|| attempt.path(&attempt.plan.pcr_policy));
        if attempt.site.postinst == PostinstMode::Skip {
            put_in_place(&attempt, policy.as_deref(), cancel).await?;
            return Ok((PostinstOutcome::Clean, Vec::new()));
        }
        let (at, slot) = (Arc::clone(&attempt), attempt.plan.target);
        let (seal, confinement) = blocking(move || {
            let seal = at.site.slots.seal(slot).map_err(PostinstError::Seal)?;
            Ok((seal, Confinement::of(&at.site, slot)?))
        })
        .await
        .map_err(InstallError::Postinst)?;
        let arguments = ScriptArguments {
            device: seal.device().to_owned(),
            kernel: attempt.path(&attempt.plan.target_kernel),
            pcr_policy: policy,
        };
        let tested = test(
            &attempt,
            release.as_ref(),
            &arguments,
            confinement.as_ref(),
            cancel,
        )
        .await;
        blocking(move || drop((seal, confinement))).await;
        let tested = tested?;
        // The script may have written another one.
        let at = Arc::clone(&attempt);
        blocking(move || image_check::kernel(&at, images.slot.size)).await?;
        Ok(tested)
    }
}

/// Looks into the sealed slot, and runs its script if the image is for this node.
async fn test(
    attempt: &Arc<AttemptSetup>,
    release: Option<&ImageRelease>,
    arguments: &ScriptArguments,
    confinement: Option<&Confinement>,
    cancel: &CancellationToken,
) -> Result<(PostinstOutcome, Vec<String>), InstallError> {
    let lost = image_check::of_slot(attempt, &arguments.device, release, cancel).await?;
    put_in_place(attempt, arguments.pcr_policy.as_deref(), cancel).await?;
    // Cancelled in there, so that the script is gone when this returns.
    let outcome = postinstall::run(&attempt.site.host, arguments, confinement, cancel).await;
    let outcome = outcome.map_err(|error| match error {
        PostinstError::Subprocess(SubprocessError::Cancelled { .. }) => InstallError::Cancelled,
        error => InstallError::Postinst(error),
    });
    Ok((outcome?, lost))
}

/// Puts the update's extensions in place, and posts its PCR policy.
async fn put_in_place(
    attempt: &Arc<AttemptSetup>,
    policy: Option<&Path>,
    cancel: &CancellationToken,
) -> Result<(), InstallError> {
    extensions::place(attempt).await?;
    let (Some(path), Some(url)) = (policy, &attempt.plan.pcr_policy_server) else {
        return Ok(());
    };
    tokio::select! {
        posted = post_pcr_policy(&attempt.site.fetcher, path, url) => posted,
        () = cancel.cancelled() => Err(InstallError::Cancelled),
    }
}

/// The failed attempt's slot must not boot. Failing to see to that is logged: the error that led
/// here is the one to be reported; what came beside the image stays then, since the slot might
/// boot.
pub(super) fn make_unbootable_again(attempt: &AttemptSetup) {
    let slot = attempt.plan.target;
    match attempt.site.slots.withdraw_and_make_unbootable(slot) {
        Ok(()) => extensions::take_back(attempt),
        Err(error) => tracing::error!(
            error = &error as &dyn Error,
            "{slot} failed, and can't be made unbootable"
        ),
    }
}
