//! The check of an image against the node: whether it is for this node, whether its kernel belongs
//! to it, and which merged extensions it would not merge.
//!
//! ```text
//!  version 2   the manifest's copy of os-release       before the first write, and in a dry run
//!  all         kernel's header, slot's hash tree       once both were read back, and after the script
//!  all         the image itself: see `image_facts`     once the slot is sealed, before its script
//! ```
//!
//! What the image doesn't say is no mismatch. A look that fails is none either (the image's script
//! fails for the same reason, or there is none to know), unless an image that loses extensions is
//! to be refused.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use payload_format::{ImageRelease, ReadBlocks};
use tokio_util::sync::CancellationToken;

use super::attempt::{AttemptSetup, blocking};
use super::image_facts::{self, ImageFacts};
use super::{InstallError, PostinstError};
use crate::disk::BlockTarget;
use crate::extension::{
    ExtensionHost, MergedExtension, NodeCertificates, SameExtension, UnderAnotherImage, judge, merged,
};
use crate::host::machine;
use crate::host::subprocess::SubprocessError;
use crate::image::{ImageIdentity, KernelHeader, OsRelease, WrongImage, architecture_of, root_hash};
use crate::plan::ExtensionJudging;

const OS_RELEASE: &str = "/usr/lib/os-release";
const RELEASE: &str = "/usr/share/flatcar/release";
/// Directory of each version's own extensions, where configuration names none.
const DEFAULT_DIRECTORY: &str = "/var/lib/update_engine/extensions";

/// What operators should hear of an image that may be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ImageWarnings {
    /// That it is of another distribution.
    pub(super) distribution: Option<String>,
    /// Merged extensions that it would not merge, each in a sentence.
    pub(super) extensions: Vec<String>,
    /// Those of which that can't be told, likewise.
    pub(super) not_told: Vec<String>,
}

/// Checks an image by what its payload's manifest says of it. Changes nothing.
///
/// # Errors
/// It is for another node, or would lose an extension that it must not lose.
pub(super) fn of_manifest(
    attempt: &AttemptSetup,
    release: &ImageRelease,
) -> Result<ImageWarnings, InstallError> {
    let facts = completed(ImageFacts::default(), Some(release));
    check(attempt, &merged_now(attempt), &facts)
}

/// `facts`, with what the manifest says of the image where the image said nothing.
fn completed(facts: ImageFacts, release: Option<&ImageRelease>) -> ImageFacts {
    let Some(release) = release.filter(|_| facts.os_release.is_empty()) else {
        return facts;
    };
    ImageFacts {
        os_release: String::from_utf8_lossy(&release.os_release).into_owned(),
        systemd: facts.systemd.or(release.systemd),
        ..facts
    }
}

/// Checks the image in the sealed slot `device`; gives what is lost with it, which the journal is
/// told. What the image itself doesn't say is taken from `release`, what the manifest says of it.
///
/// # Errors
/// It is for another node, or would lose an extension that it must not lose.
pub(super) async fn of_slot(
    attempt: &Arc<AttemptSetup>,
    device: &Path,
    release: Option<&ImageRelease>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, InstallError> {
    let at = Arc::clone(attempt);
    let merged = blocking(move || merged_now(&at)).await;
    let links = merged
        .iter()
        .filter_map(|extension| match &extension.under_another_image {
            UnderAnotherImage::OfImage(path) => Some(path.clone()),
            _ => None,
        });
    let links = links.collect();
    let facts = match image_facts::look(&attempt.site.host, device, links, cancel).await {
        Ok(facts) => facts,
        Err(PostinstError::Subprocess(SubprocessError::Cancelled { .. })) => {
            return Err(InstallError::Cancelled);
        }
        Err(error) if attempt.plan.extensions_judged == ExtensionJudging::Refuse => {
            return Err(InstallError::Postinst(error));
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the new image is not looked at before its postinst runs");
            ImageFacts::default()
        }
    };
    let (at, facts) = (Arc::clone(attempt), completed(facts, release));
    let warnings = blocking(move || check(&at, &merged, &facts)).await?;
    let all = warnings.distribution.iter().chain(&warnings.extensions);
    let all = all.chain(&warnings.not_told);
    all.for_each(|warning| tracing::warn!("{warning}"));
    Ok(warnings.extensions)
}

/// Checks that the kernel on the boot partition is one for this machine, and the one of the image
/// in the slot, whose first `image_size` bytes it is: what lies behind is an older image's.
///
/// # Errors
/// [`InstallError::WrongImage`], or one of the two can't be read.
pub(super) fn kernel(attempt: &AttemptSetup, image_size: u64) -> Result<(), InstallError> {
    let path = attempt.path(&attempt.plan.target_kernel);
    let header = kernel_header(&path).map_err(InstallError::io("reading", &path.display()))?;
    header.require_architecture(path.clone(), architecture_of(&machine()))?;
    let Some(embedded) = header.root_hash else {
        return Ok(());
    };
    let slot = attempt.plan.target;
    let device = attempt.site.slots.open_source(slot);
    let device = device.map_err(|source| InstallError::Open { slot, source })?;
    let found = root_hash(&SlotImage(&*device), image_size.min(device.len()));
    match found.map_err(InstallError::io("reading", &slot))? {
        Some(found) if found != embedded => Err(WrongImage::RootHash {
            kernel: path,
            embedded,
            slot: slot.to_string(),
            found,
        }
        .into()),
        Some(_) => Ok(()),
        None => {
            tracing::warn!(
                "{} insists on a /usr with a dm-verity hash tree, and none was found in {slot}",
                path.display()
            );
            Ok(())
        }
    }
}

struct SlotImage<'a>(&'a dyn BlockTarget);

impl ReadBlocks for SlotImage<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buf, offset)
    }
}

fn kernel_header(path: &Path) -> std::io::Result<KernelHeader> {
    let mut head = Vec::new();
    File::open(path)?
        .take(KernelHeader::LEN as u64)
        .read_to_end(&mut head)?;
    Ok(KernelHeader::of(&head))
}

fn check(
    attempt: &AttemptSetup,
    merged: &[MergedExtension],
    facts: &ImageFacts,
) -> Result<ImageWarnings, InstallError> {
    // A file that systemd refuses says nothing.
    let parse = |text: &[u8]| OsRelease::parse(text, facts.systemd).unwrap_or_default();
    let running = |path| match attempt.site.host.read(path) {
        Ok(text) => parse(&text.unwrap_or_default()),
        Err(error) => {
            tracing::warn!("{error}: {}", error.source);
            OsRelease::default()
        }
    };
    let running = ImageIdentity::of(&running(OS_RELEASE), &running(RELEASE));
    let os_release = parse(facts.os_release.as_bytes());
    let new = ImageIdentity::of(&os_release, &parse(facts.release.as_bytes()));
    new.require_same_node(&running)?;
    let machine = machine();
    let image = ExtensionHost {
        os_release: &os_release,
        systemd: facts.systemd,
        architecture: architecture_of(&machine),
    };
    let certificates = NodeCertificates::of(&attempt.site.host);
    let (extensions, not_told) = lost(merged, image, facts, &certificates);
    if attempt.plan.extensions_judged == ExtensionJudging::Refuse && !extensions.is_empty() {
        return Err(InstallError::ExtensionsLost(extensions));
    }
    Ok(ImageWarnings {
        distribution: new.other_distribution(&running),
        extensions,
        not_told,
    })
}

/// The extensions of `merged` that systemd in `image` doesn't merge, and those of which that can't
/// be told, each in a sentence. Of an image that says nothing of itself, none.
fn lost(
    merged: &[MergedExtension],
    image: ExtensionHost<'_>,
    facts: &ImageFacts,
    node: &NodeCertificates,
) -> (Vec<String>, Vec<String>) {
    let (mut lost, mut not_told) = (Vec::new(), Vec::new());
    if image.os_release.is_empty() {
        return (lost, not_told);
    }
    for extension in merged {
        let (class, name) = (extension.class.word(), &extension.name);
        let (mut why, mut unknown) = (None, None);
        match &extension.under_another_image {
            UnderAnotherImage::Same(same) => {
                let form = (extension.class, extension.is_versioned);
                why = judge(form, same.release.as_ref(), image)
                    .err()
                    .map(|why| why.to_string());
                unknown = unknown_signature(class, same, facts, node).filter(|_| why.is_none());
            }
            UnderAnotherImage::OfImage(path) if facts.missing.contains(path) => {
                why = Some(format!("the image has no {}", path.display()));
            }
            UnderAnotherImage::NotTold(why) => unknown = Some(why.clone()),
            UnderAnotherImage::OfImage(_) | UnderAnotherImage::NotKnown => {}
        }
        lost.extend(why.map(|why| format!("the new image will not merge the {class} {name}: {why}")));
        not_told.extend(
            unknown.map(|why| {
                format!("whether the new image will merge the {class} {name} can't be told: {why}")
            }),
        );
    }
    (lost, not_told)
}

/// Why it can't be told whether systemd takes the signature of an extension's image; none if it does,
/// or there is no signature.
fn unknown_signature(
    class: &'static str,
    same: &SameExtension,
    facts: &ImageFacts,
    node: &NodeCertificates,
) -> Option<String> {
    same.signatures.iter().find_map(|signature| match signature {
        Ok(signature) => {
            let judged = node.judge(class, signature, facts.certificates.as_deref());
            judged.err().map(|why| why.to_string())
        }
        Err(why) => Some(why.clone()),
    })
}

/// The extensions that are merged now, unless nobody wants them judged. Not being able to tell is
/// logged.
fn merged_now(attempt: &AttemptSetup) -> Vec<MergedExtension> {
    if attempt.plan.extensions_judged == ExtensionJudging::Off {
        return Vec::new();
    }
    let own = attempt.plan.extensions.as_ref();
    let of_versions = own.map_or(DEFAULT_DIRECTORY, |plan| plan.directory.as_str());
    merged(&attempt.site.host, of_versions).unwrap_or_else(|error| {
        tracing::warn!("the node's extensions are not judged: {error}: {}", error.source);
        Vec::new()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::extension::ExtensionClass;
    use crate::host::Host;

    #[test]
    fn what_is_lost_is_named_with_its_reason() {
        let parse = |text: &str| OsRelease::parse(text.as_bytes(), None).unwrap();
        let same = |name: &str, release: &str| MergedExtension {
            class: ExtensionClass::System,
            name: name.to_owned(),
            is_versioned: false,
            under_another_image: UnderAnotherImage::Same(SameExtension {
                release: Some(parse(release)),
                signatures: Vec::new(),
            }),
        };
        let merged = [
            same("k8s", "ID=flatcar\nVERSION_ID=1\n"),
            same("static", "ID=_any\n"),
            MergedExtension {
                class: ExtensionClass::System,
                name: "docker".to_owned(),
                is_versioned: false,
                under_another_image: UnderAnotherImage::OfImage("/usr/share/docker.raw".into()),
            },
            MergedExtension {
                class: ExtensionClass::Configuration,
                name: "unknown".to_owned(),
                is_versioned: false,
                under_another_image: UnderAnotherImage::NotTold("it was changed".to_owned()),
            },
        ];
        let judged = |os_release: &OsRelease, missing: &[PathBuf]| {
            let image = ExtensionHost {
                os_release,
                systemd: Some(257),
                architecture: "x86-64",
            };
            let facts = ImageFacts {
                missing: missing.to_owned(),
                ..ImageFacts::default()
            };
            let nowhere = Host::new("/nonexistent");
            lost(&merged, image, &facts, &NodeCertificates::of(&nowhere))
        };
        let image = parse("ID=flatcar\nVERSION_ID=2\n");
        let k8s = "the new image will not merge the sysext k8s: it is for VERSION_ID=1, the image has 2";
        let docker = "the new image will not merge the sysext docker: the image has no /usr/share/docker.raw";
        let unknown = "whether the new image will merge the confext unknown can't be told: it was changed";
        let sentences = |sentences: &[&str]| -> Vec<String> {
            sentences.iter().map(|&sentence| sentence.to_owned()).collect()
        };
        assert_eq!(judged(&image, &[]), (sentences(&[k8s]), sentences(&[unknown])));
        let missing = ["/usr/share/docker.raw".into()];
        assert_eq!(
            judged(&image, &missing),
            (sentences(&[k8s, docker]), sentences(&[unknown]))
        );
        let silent = OsRelease::default();
        assert_eq!(judged(&silent, &missing), (Vec::new(), Vec::new()));
    }
}
