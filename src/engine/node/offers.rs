//! What becomes of an offer: taken or put off, from which URL, written where.

use ring::rand::SecureRandom as _;

use super::{Node, slots};
use crate::config::Config;
use crate::disk::SlotName;
use crate::engine::{AttemptContext, Checked, Failure};
use crate::host::Unreadable;
use crate::journal::chain;
use crate::omaha::{ErrorCode, Offer, PayloadKind};
use crate::plan::{BlamedImage, InstallPlan};
use crate::policy::{Decision, PayloadState, PolicyInput, Seed, decide, extensions};
use crate::status::{Obstacle, Trigger};
use crate::store::PrefsError;

/// The one key of the image; operators bind-mount over it.
const PUBLIC_KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";
const STATE: &str = "/var/lib/update_engine";

impl Node {
    /// Asks policy about `offer`; gives a plan if it is taken.
    pub(super) fn consider(
        &self,
        config: &Config,
        offer: Offer,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        let mut state = self.payload_state();
        state.offered(&offer);
        self.save(&state)?;
        self.decide(&offer, &state, trigger)?;
        let mut plan = self.plan(config, &offer, &state)?;
        plan.blamed = self.unwanted_images(trigger);
        let attempt = AttemptContext::at(trigger, offer, plan.target);
        Ok(Checked::Offer((attempt, plan)))
    }

    /// Whether policy takes `offer`; if not, why.
    pub(super) fn decide(
        &self,
        offer: &Offer,
        payload_state: &PayloadState,
        trigger: Trigger,
    ) -> Result<(), Failure> {
        let mode = self.host().mode()?;
        let history = self.history();
        let input = PolicyInput {
            payload_state,
            blame: history.blame_of(&offer.sha256),
            trigger,
            mode,
            now: self.unix_time(),
        };
        match decide(offer, &input) {
            Decision::Take { .. } => Ok(()),
            Decision::RolledBackBefore(blame) => Err(Failure::new(
                ErrorCode::IgnoredPerPolicy,
                format!(
                    "this machine rolled back from version {:?} ({}); it is installed again only on demand",
                    blame.version, blame.cause
                ),
            )
            .of_kind(Obstacle::RolledBack)),
            Decision::BackOff { until } => Err(Failure {
                obstacle: Obstacle::Backoff,
                until: Some(until.0),
                ..Failure::new(
                    ErrorCode::DeferredForBackoff,
                    format!(
                        "this payload failed before; it is put off until {} (Unix time)",
                        until.0
                    ),
                )
            }),
        }
    }

    /// What is not installed, whatever package it comes in: whoever asks by hand gets everything.
    fn unwanted_images(&self, trigger: Trigger) -> Vec<BlamedImage> {
        if trigger == Trigger::Operator {
            return Vec::new();
        }
        let history = self.history();
        let blamed = history.blamed().iter().filter_map(|blame| {
            Some(BlamedImage {
                image: blame.image?,
                version: blame.version.clone(),
                cause: blame.cause.clone(),
            })
        });
        blamed.collect()
    }

    /// What will be written where.
    pub(super) fn plan(
        &self,
        config: &Config,
        offer: &Offer,
        payload_state: &PayloadState,
    ) -> Result<InstallPlan, Failure> {
        let url = payload_state.url(offer).to_owned();
        let fallback_urls = payload_state.fallback_urls(offer).to_vec();
        let disk = slots::open(&self.settings)?;
        let target = !disk.running();
        let kernel = |slot| {
            let kernel = self.kernel(slot);
            kernel.map_err(|error| Failure::caused_by(ErrorCode::Error, &error))
        };
        let urls = [std::slice::from_ref(&url), &fallback_urls[..]].concat();
        let extensions = extensions(offer, &urls, &config.extensions, &config.version)?;
        Ok(InstallPlan {
            version: offer.version.clone(),
            url,
            fallback_urls,
            payload_size: offer.size,
            payload_sha256: offer.sha256,
            metadata: offer.metadata.clone(),
            signed_metadata: config.signed_metadata,
            is_delta: offer.kind == PayloadKind::Delta,
            target,
            target_kernel: kernel(target)?,
            source_kernel: kernel(!target)?,
            pcr_policy: format!("{STATE}/pcrs-{}.zip", target.letter()),
            pcr_policy_server: config.pcr_policy_server.clone(),
            credentials: config.credentials.clone(),
            extra_partitions: config.extra_partitions.clone(),
            extensions,
            blamed: Vec::new(),
            public_keys: vec![self.host().path(PUBLIC_KEY)],
        })
    }

    /// The kernel of `slot`.
    pub(super) fn kernel(&self, slot: SlotName) -> Result<String, Unreadable> {
        Ok(format!("{}/vmlinuz-{}", self.boot_directory()?, slot.letter()))
    }

    /// Where kernels lie: installations from before the distribution's change of name keep their place. Who doesn't know
    /// which this is writes neither: a loader would take the other one.
    fn boot_directory(&self) -> Result<&'static str, Unreadable> {
        for old in ["/boot/coreos/vmlinuz-a", "/boot/coreos/vmlinuz-b"] {
            if self.host().is_there(old)? {
                return Ok("/boot/coreos");
            }
        }
        Ok("/boot/flatcar")
    }

    /// Bytes of the payload came: its URL works, whatever happens next.
    pub(super) fn download_flowed(&self, attempt: &AttemptContext) {
        self.account(attempt, |state, _, _| {
            state.progressed();
        });
    }

    /// The whole payload came.
    pub(super) fn download_done(&self, attempt: &AttemptContext) {
        self.account(attempt, |state, offer, node| {
            state.downloaded(offer, node.unix_time(), seed());
        });
    }

    /// The attempt ended with `code`.
    pub(super) fn attempt_failed(&self, attempt: &AttemptContext, code: ErrorCode) {
        self.account(attempt, |state, offer, node| {
            state.failed(offer, code, node.unix_time(), seed());
        });
    }

    fn account(&self, attempt: &AttemptContext, change: impl FnOnce(&mut PayloadState, &Offer, &Self)) {
        let Some(offer) = attempt.blamable_offer() else {
            return;
        };
        let before = self.payload_state();
        let mut state = before.clone();
        change(&mut state, offer, self);
        if state != before
            && let Err(error) = self.save(&state)
        {
            tracing::warn!("cannot keep count of this payload's attempts: {}", chain(&error));
        }
    }

    pub(super) fn payload_state(&self) -> PayloadState {
        // What can't be read counts as never written: the offer starts anew.
        PayloadState::load(|key| self.prefs.get(key).ok().flatten(), self.unix_time())
    }

    fn save(&self, state: &PayloadState) -> Result<(), PrefsError> {
        let prefs = state.prefs();
        prefs
            .iter()
            .try_for_each(|(key, value)| self.prefs.set(*key, value))
    }
}

/// Fresh randomness for one decision.
pub(super) fn seed() -> Seed {
    let mut bytes = [0; 8];
    // Without any the decision is the same on every such machine: worse jitter, nothing else.
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::warn!("the system gives no randomness");
    }
    Seed(u64::from_ne_bytes(bytes))
}
