//! The policy on offers: taken or put off, from which URL, written where.

use std::sync::Arc;

use super::machine::{Machine, STATE, unix_time};
use super::payload_prefs::PayloadPrefs;
use super::update_history::UpdateHistory;
use crate::amounts::utc;
use crate::config::Config;
use crate::engine::{AttemptContext, Checked, Failure};
use crate::omaha::{ErrorCode, Offer, PayloadKind};
use crate::plan::{BlockedImage, InstallPlan};
use crate::policy::{
    BlockedPayload, Decision, PayloadState, PolicyInput, content_package, decide, extensions,
};
use crate::status::{Obstacle, Trigger};

/// The one key of the image; operators bind-mount over it.
const PUBLIC_KEY: &str = "/usr/share/update_engine/update-payload-key.pub.pem";

/// Decides on offers by what this machine remembers, and plans their installation.
pub(super) struct OfferPolicy {
    machine: Arc<Machine>,
    history: Arc<UpdateHistory>,
    payload_prefs: Arc<PayloadPrefs>,
}

impl OfferPolicy {
    pub(super) fn new(
        machine: &Arc<Machine>,
        history: &Arc<UpdateHistory>,
        payload_prefs: &Arc<PayloadPrefs>,
    ) -> Self {
        Self {
            machine: Arc::clone(machine),
            history: Arc::clone(history),
            payload_prefs: Arc::clone(payload_prefs),
        }
    }

    /// Decides on `offer`, and remembers that it was made; gives an attempt and its plan if it is
    /// taken.
    pub(super) fn consider(
        &self,
        config: &Config,
        offer: Offer,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        let mut state = self.payload_prefs.state();
        state.offered(&offer);
        self.payload_prefs.save(&state)?;
        self.decide(&offer, &state, trigger)?;
        let mut plan = self.plan(config, &offer, &state)?;
        plan.blocked_images = self.unwanted_images(trigger);
        let attempt = AttemptContext::at(trigger, offer, plan.target);
        Ok(Checked::Offer((attempt, plan)))
    }

    /// The plan of an attempt at `offer` that an operator would start now. Changes nothing.
    pub(super) fn preview(&self, config: &Config, offer: &Offer) -> Result<InstallPlan, Failure> {
        let mut state = self.payload_prefs.state();
        state.offered(offer);
        self.decide(offer, &state, Trigger::Operator)?;
        self.plan(config, offer, &state)
    }

    /// Whether policy takes `offer`; if not, why.
    fn decide(&self, offer: &Offer, payload_state: &PayloadState, trigger: Trigger) -> Result<(), Failure> {
        let mode = self.machine.host().mode()?;
        let (history, now) = (self.history.read(), unix_time());
        let input = PolicyInput {
            payload_state,
            blocked: history.blocked_payload(&offer.sha256, now),
            trigger,
            mode,
            now,
        };
        match decide(offer, &input) {
            Decision::Take { .. } => Ok(()),
            Decision::RolledBackBefore(blocked) => Err(rolled_back_before(blocked)),
            Decision::BackOff { until } => Err(Failure {
                obstacle: Obstacle::Backoff,
                until: Some(until.0),
                ..Failure::new(
                    ErrorCode::DeferredForBackoff,
                    format!(
                        "this payload was tried before; it is put off until {}",
                        utc(until.0)
                    ),
                )
            }),
        }
    }

    /// What is not installed, whatever package it comes in: an operator gets everything.
    fn unwanted_images(&self, trigger: Trigger) -> Vec<BlockedImage> {
        if trigger == Trigger::Operator {
            return Vec::new();
        }
        let (history, now) = (self.history.read(), unix_time());
        let blocked = history
            .blocked_payloads()
            .iter()
            .filter(|blocked| blocked.blocks(now));
        let blocked = blocked.filter_map(|blocked| {
            Some(BlockedImage {
                image: blocked.image?,
                version: blocked.version.clone(),
                cause: blocked.cause.clone(),
            })
        });
        blocked.collect()
    }

    /// What will be written where.
    fn plan(
        &self,
        config: &Config,
        offer: &Offer,
        payload_state: &PayloadState,
    ) -> Result<InstallPlan, Failure> {
        let url = payload_state.url(offer).to_owned();
        let fallback_urls = payload_state.fallback_urls(offer).to_vec();
        let disk = self.machine.disk()?;
        let target = !disk.running();
        let kernel = |slot| {
            let kernel = self.machine.kernel(slot);
            kernel.map_err(|error| Failure::caused_by(ErrorCode::Error, &error))
        };
        let urls = [std::slice::from_ref(&url), &fallback_urls[..]].concat();
        let extensions = extensions(offer, &urls, &config.extensions, &config.version)?;
        let content = content_package(offer, &urls).filter(|_| config.content_payloads);
        Ok(InstallPlan {
            content,
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
            extensions_judged: config.extensions.judged,
            blocked_images: Vec::new(),
            public_keys: vec![self.machine.host().path(PUBLIC_KEY)],
        })
    }
}

/// The failure of an offer whose image this machine rolled back from.
fn rolled_back_before(blocked: &BlockedPayload) -> Failure {
    let again = match blocked.retry_from {
        None => "it is installed again only on demand".to_owned(),
        Some(from) => format!("it is tried once more from {} on, or on demand", utc(from.0)),
    };
    let reason = format!(
        "this machine rolled back from version {:?} ({}); {again}",
        blocked.version, blocked.cause
    );
    Failure {
        until: blocked.retry_from.map(|from| from.0),
        ..Failure::new(ErrorCode::IgnoredPerPolicy, reason).of_kind(Obstacle::RolledBack)
    }
}
