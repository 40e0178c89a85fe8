//! The preview of an attempt, for an operator who asks beforehand: an offer, policy, preflight and
//! the payload's manifest.
//!
//! The offer is that of the last check, from the preference `full-response`: nothing is written,
//! and the update server learns nothing. Only on request is the server asked, which is a check to
//! it: it is told what became of the last update, and a Nebraska counts the offer as granted.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::timeout;

use super::blocking::Blocking;
use super::machine::{Machine, unix_time};
use super::offer_policy::OfferPolicy;
use super::omaha_session::{OmahaSession, read, url};
use super::slot_trial::SlotTrial;
use super::update_runner::UpdateRunner;
use crate::config::Config;
use crate::engine::snapshot::shown;
use crate::engine::{Failure, Reportable as _};
use crate::install::{InstallError, PAYLOAD_LOOK, PreflightResult, PreflightVerdict, SLOT_LOOK};
use crate::journal::chain;
use crate::omaha::{CheckAnswer, CheckEvent, ErrorCode, HttpStatus, Offer, Reply};
use crate::plan::InstallPlan;
use crate::status::{CheckResult, Obstacle, OfferSource, PreflightCheck, Preview, Prospect};
use crate::store::LastAnswer;
use crate::trial_deadline::on_next_trial;

/// The update server's answer is waited for as long. Clients of a bus wait 25 s for both.
const SERVER: Duration = Duration::from_secs(12);
/// And so the payload's first bytes.
const PAYLOAD: Duration = Duration::from_secs(8);

/// What asks, for the sentences that say how to hear more.
const ASK: &str =
    "update_engine_client check --dry-run --ask-server asks the server, which may count as a grant";

/// Makes previews of attempts.
pub(super) struct Previewer {
    session: OmahaSession,
    runner: UpdateRunner,
    records: Blocking<PreviewRecords>,
}

/// What previews read on this machine.
pub(super) struct PreviewRecords {
    pub(super) machine: Arc<Machine>,
    pub(super) trial: Arc<SlotTrial>,
    pub(super) offers: Arc<OfferPolicy>,
}

impl PreviewRecords {
    /// A check would not ask either while the slot is on trial: the server would take the last
    /// update for a success.
    fn may_ask(&self) -> Result<(), Failure> {
        let disk = self.machine.disk()?;
        let running = disk.running();
        let attributes = disk.attributes(running)?;
        if !attributes.is_successful()
            && let Some(obstacle) = self.trial.obstacle()
        {
            let why = format!("the server is not asked while {running} is on trial: {obstacle}");
            return Err(Failure::new(ErrorCode::DeferredPerPolicy, why).of_kind(Obstacle::OnTrial));
        }
        Ok(())
    }
}

impl PreviewRecords {
    /// Who would end a hang of the new slot, where that is configured.
    fn trial_deadline(&self) -> Option<PreflightResult> {
        let verdict = match on_next_trial(self.machine.host()) {
            Ok(end) => PreflightVerdict::Fine(end?.to_string()),
            Err(error) => PreflightVerdict::Standing(chain(&error)),
        };
        let subject = "trial deadline".to_owned();
        Some(PreflightResult { subject, verdict })
    }
}

impl Previewer {
    pub(super) fn new(session: &OmahaSession, runner: &UpdateRunner, records: PreviewRecords) -> Self {
        Self {
            session: session.clone(),
            runner: runner.clone(),
            records: Blocking::of(records),
        }
    }

    /// What would come of an attempt at the offer from `source`.
    pub(super) async fn preview(&self, source: OfferSource) -> Preview {
        let (config, event) = match self.session.check_event().await {
            Ok(news) => news,
            Err(failure) => return refused(&failure),
        };
        if let Err(failure) = url(&config) {
            return refused(&failure);
        }
        match source {
            OfferSource::LastCheck => self.preview_last(config).await,
            OfferSource::Server => self.preview_current(config, event).await,
        }
    }

    /// At the offer that the last check brought.
    async fn preview_last(&self, config: Config) -> Preview {
        let (body, came) = match self
            .records
            .run(|records| records.machine.prefs().last_answer())
            .await
        {
            Ok(LastAnswer::Known { body, came }) => (body, came),
            Ok(LastAnswer::None) => {
                return nothing_offered(format!(
                    "no offer is known: no check has brought an answer yet; {ASK}"
                ));
            }
            Ok(LastAnswer::Installed) => {
                return nothing_offered(format!(
                    "no offer is known since the last update was installed; {ASK}"
                ));
            }
            Err(error) => return refused(&error.into()),
        };
        let reply = Reply {
            body,
            ..Reply::default()
        };
        let preview = match read(&reply) {
            Err(failure) => refused(&failure),
            Ok(response) => match response.answer {
                CheckAnswer::NoUpdate => nothing_offered(format!(
                    "the server had no update for this node at the last check; {ASK}"
                )),
                CheckAnswer::Offer(offer) => self.preview_offer(config, offer).await,
            },
        };
        // Before 1970 no clock was set.
        let since = came.duration_since(UNIX_EPOCH).unwrap_or_default();
        Preview {
            answered: i64::try_from(since.as_secs()).ok(),
            ..preview
        }
    }

    /// At what the server offers now.
    async fn preview_current(&self, config: Config, event: CheckEvent) -> Preview {
        if let Err(failure) = self.records.run(PreviewRecords::may_ask).await {
            return refused(&failure);
        }
        let answer = match timeout(SERVER, self.session.preview_check(&config, event)).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer()),
        };
        let answered = Some(unix_time().0);
        let preview = match answer {
            Err(failure) => return refused(&failure),
            Ok(CheckAnswer::NoUpdate) => nothing_offered("the server has no update for this node".to_owned()),
            Ok(CheckAnswer::Offer(offer)) => self.preview_offer(config, offer).await,
        };
        Preview { answered, ..preview }
    }

    async fn preview_offer(&self, config: Config, offer: Offer) -> Preview {
        let at = offer.clone();
        let taken = self
            .records
            .run(move |records| records.offers.preview(&config, &at))
            .await;
        let examined = match taken {
            Ok(plan) => self.examine(plan).await,
            Err(failure) => Err(failure),
        };
        let mut preview = examined.unwrap_or_else(|failure| refused(&failure));
        preview.version = Some(offer.version);
        preview.payload_sha256 = Some(offer.sha256.to_string());
        preview.bytes_total = Some(offer.size);
        preview
    }

    async fn examine(&self, plan: InstallPlan) -> Result<Preview, Failure> {
        let slot = plan.target.to_string();
        let mut findings = self.runner.examine(plan, PAYLOAD).await?;
        if self
            .records
            .run(|records| records.trial.obstacle())
            .await
            .is_none()
        {
            findings.iter_mut().for_each(marked_first);
        }
        settle(&mut findings);
        findings.extend(self.records.run(PreviewRecords::trial_deadline).await);
        let checks: Vec<_> = findings.iter().map(checked).collect();
        let mut preview = match (
            findings.iter().find_map(refusal),
            findings.iter().find(|finding| is_doubtful(finding)),
        ) {
            (Some((prospect, why)), _) => plain(prospect, format!("would not be installed in {slot}: {why}")),
            (None, Some(finding)) => {
                let (subject, why) = (&finding.subject, checked(finding).found);
                let summary = format!("may fail in {slot}: {subject}: {why}");
                plain(Prospect::Doubtful, summary)
            }
            (None, None) => plain(Prospect::Install, format!("would be installed in {slot}")),
        };
        preview.code = checks.iter().find_map(|check| check.code);
        preview.slot = Some(slot);
        preview.checks = checks;
        Ok(preview)
    }
}

/// An attempt marks the running slot good before it asks the server, if nothing is required of it
/// that does not hold.
fn marked_first(finding: &mut PreflightResult) {
    if let PreflightVerdict::Refused(InstallError::RunningNotGood { running, .. }) = finding.verdict {
        let why = format!("{running} is not marked good yet: an update does that before anything else");
        finding.verdict = PreflightVerdict::Fine(why);
    }
}

/// The manifest decides what was in doubt without it: whether the payload fits, and what it brings.
fn settle(findings: &mut [PreflightResult]) {
    let is_read = |finding: &PreflightResult| {
        finding.subject == PAYLOAD_LOOK && matches!(finding.verdict, PreflightVerdict::Fine(_))
    };
    if !findings.iter().any(is_read) {
        return;
    }
    for finding in findings {
        match &finding.verdict {
            PreflightVerdict::Missing(error) => {
                let why = format!("not needed by this payload: {}", chain(error));
                finding.verdict = PreflightVerdict::Fine(why);
            }
            PreflightVerdict::Doubtful(why) if finding.subject == SLOT_LOOK => {
                let why = format!("{why}; this payload fits");
                finding.verdict = PreflightVerdict::Fine(why);
            }
            _ => {}
        }
    }
}

/// Whether it makes the outcome doubtful.
const fn is_doubtful(finding: &PreflightResult) -> bool {
    matches!(
        finding.verdict,
        PreflightVerdict::Doubtful(_) | PreflightVerdict::Missing(_)
    )
}

fn refusal(finding: &PreflightResult) -> Option<(Prospect, String)> {
    let PreflightVerdict::Refused(error) = &finding.verdict else {
        return None;
    };
    let prospect = if error.code().is_deferral() {
        Prospect::PutOff
    } else {
        Prospect::Fail
    };
    Some((prospect, checked(finding).found))
}

fn checked(finding: &PreflightResult) -> PreflightCheck {
    let (result, found, code) = match &finding.verdict {
        PreflightVerdict::Fine(found) => (CheckResult::Ok, found.clone(), None),
        PreflightVerdict::Doubtful(why) | PreflightVerdict::Standing(why) => {
            (CheckResult::Doubtful, why.clone(), None)
        }
        PreflightVerdict::Missing(error) => (CheckResult::Doubtful, chain(error), None),
        PreflightVerdict::Refused(error) => (CheckResult::Failed, chain(error), Some(error.code().number())),
    };
    PreflightCheck {
        subject: finding.subject.clone(),
        result,
        found: shown(&found),
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
        ..plain(prospect, shown(&failure.reason()))
    }
}

fn no_answer() -> Failure {
    let none = ErrorCode::Http(HttpStatus::None);
    Failure::new(
        none,
        format!("the server gave no answer within {} s", SERVER.as_secs()),
    )
}

const fn nothing_offered(summary: String) -> Preview {
    plain(Prospect::NothingOffered, summary)
}

const fn plain(prospect: Prospect, summary: String) -> Preview {
    Preview {
        prospect,
        summary,
        code: None,
        answered: None,
        version: None,
        payload_sha256: None,
        bytes_total: None,
        slot: None,
        checks: Vec::new(),
    }
}
