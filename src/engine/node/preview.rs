//! What an attempt would come to, for an operator who asks beforehand: the server's offer, policy, preflight and the
//! payload's manifest. Nothing is written, here or in the server's books, but for what servers note of any question:
//! a Nebraska counts the offer as granted until the next check tells it otherwise.

use std::time::Duration;

use tokio::time::timeout;

use super::Node;
use super::survey::hex;
use crate::bus::{CheckResult, Obstacle, PreflightCheck, Preview, Prospect};
use crate::config::Config;
use crate::engine::code::code_of;
use crate::engine::{Failure, Trigger, chain};
use crate::install::{Finding, InstallError, Installer, Verdict};
use crate::net::redact;
use crate::omaha::{Answer, ErrorCode, HttpStatus, Offer};
use crate::plan::InstallPlan;

/// The update server's answer is waited for as long. Clients of a bus wait 25 s for both.
const SERVER: Duration = Duration::from_secs(12);
/// And so the payload's first bytes.
const PAYLOAD: Duration = Duration::from_secs(8);

impl Node {
    pub(super) async fn look_ahead(&self) -> Preview {
        let config = match self.blocking(Self::config).await {
            Ok(config) => config,
            Err(error) => return refused(&error.into()),
        };
        let answer = match timeout(SERVER, self.question(&config)).await {
            Ok(answer) => answer,
            Err(_) => Err(silence()),
        };
        match answer {
            Err(failure) => refused(&failure),
            Ok(Answer::NoUpdate) => plain(
                Prospect::NothingOffered,
                "the server has no update for this node".to_owned(),
            ),
            Ok(Answer::Offer(offer)) => self.look_at(config, offer).await,
        }
    }

    async fn look_at(&self, config: Config, offer: Offer) -> Preview {
        let at = offer.clone();
        let taken = self.blocking(move |node| node.take(&config, &at)).await;
        let examined = match taken {
            Ok(plan) => self.examine(plan).await,
            Err(failure) => Err(failure),
        };
        let mut preview = examined.unwrap_or_else(|failure| refused(&failure));
        preview.version = Some(offer.version);
        preview.payload_sha256 = Some(hex(&offer.sha256));
        preview.bytes_total = Some(offer.size);
        preview
    }

    /// What would be done with `offer` by somebody who wants it now.
    fn take(&self, config: &Config, offer: &Offer) -> Result<InstallPlan, Failure> {
        let mut state = self.payload_state();
        state.offered(offer);
        self.decide(offer, &state, Trigger::Operator)?;
        self.plan(config, offer, &state)
    }

    async fn examine(&self, plan: InstallPlan) -> Result<Preview, Failure> {
        let slot = plan.target.to_string();
        // An attempt that begins meanwhile wants the slot for itself.
        let alone = self.preflights.lock().await;
        let site = self.site(Trigger::Operator).await?;
        let mut findings = Installer::new(plan, site).examine(PAYLOAD).await;
        drop(alone);
        if self.blocking(Self::obstacle).await.is_none() {
            findings.iter_mut().for_each(marked_first);
        }
        let checks: Vec<_> = findings.iter().map(told).collect();
        let mut preview = match findings.iter().find_map(refusal) {
            None => plain(Prospect::Install, format!("would be installed in {slot}")),
            Some((prospect, why)) => plain(prospect, format!("would not be installed in {slot}: {why}")),
        };
        preview.code = checks.iter().find_map(|check| check.code);
        preview.slot = Some(slot);
        preview.checks = checks;
        Ok(preview)
    }
}

/// An attempt marks the running slot good before it asks the server, if nothing is required of it that does not hold.
fn marked_first(finding: &mut Finding) {
    if let Verdict::Refused(InstallError::RunningNotGood { running, .. }) = finding.verdict {
        let why = format!("{running} is not marked good yet: an update does that before anything else");
        finding.verdict = Verdict::Doubtful(why);
    }
}

fn refusal(finding: &Finding) -> Option<(Prospect, String)> {
    let Verdict::Refused(error) = &finding.verdict else {
        return None;
    };
    let prospect = if code_of(error).is_deferral() {
        Prospect::PutOff
    } else {
        Prospect::Fail
    };
    Some((prospect, told(finding).found))
}

fn told(finding: &Finding) -> PreflightCheck {
    let (result, found, code) = match &finding.verdict {
        Verdict::Fine(found) => (CheckResult::Ok, found.clone(), None),
        Verdict::Doubtful(why) => (CheckResult::Doubtful, why.clone(), None),
        Verdict::Missing(error) => (CheckResult::Doubtful, chain(error), None),
        Verdict::Refused(error) => (CheckResult::Failed, chain(error), Some(code_of(error).number())),
    };
    PreflightCheck {
        subject: finding.subject.clone(),
        result,
        found: redact(&found),
        code,
    }
}

fn refused(failure: &Failure) -> Preview {
    let prospect = match failure.obstacle {
        Obstacle::NoneOffered => Prospect::NothingOffered,
        Obstacle::Failed => Prospect::Fail,
        _ => Prospect::PutOff,
    };
    Preview {
        code: Some(failure.code.number()),
        ..plain(prospect, redact(&failure.reason()))
    }
}

fn silence() -> Failure {
    let none = ErrorCode::Http(HttpStatus::None);
    Failure::new(
        none,
        format!("the server gave no answer within {} s", SERVER.as_secs()),
    )
}

const fn plain(prospect: Prospect, summary: String) -> Preview {
    Preview {
        prospect,
        summary,
        code: None,
        version: None,
        payload_sha256: None,
        bytes_total: None,
        slot: None,
        checks: Vec::new(),
    }
}
