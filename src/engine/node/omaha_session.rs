//! The Omaha session: everything that the update server is asked and told.
//!
//! One check, step by step:
//!
//! ```text
//!   configuration, identity, prefs ─▶ request ─▶ POST ─▶ body
//!   prefs: previous-version emptied, then full-response = body       postinst compares their ages
//!   body ─▶ answer ─▶ no update | offer ─▶ policy
//! ```
//!
//! Events and pings get no retries and their answers mean nothing.

use std::sync::Arc;

use super::attempt_observer::AttemptObserver;
use super::blocking::Blocking;
use super::check_records::{CheckRecords, Requester};
use super::check_schedule::CheckSchedule;
use crate::config::{Config, ServerSetting, WaitingUpdate};
use crate::engine::{AttemptContext, Checked, Failure, Report};
use crate::host::Unreadable;
use crate::journal::chain;
use crate::omaha::{
    AttemptEvent, Body, CheckAnswer, CheckEvent, Client, ErrorCode, HttpStatus, Reply, Request, Response,
    Retries,
};
use crate::plan::InstallPlan;
use crate::policy::{Contact, Heartbeat};
use crate::status::{Obstacle, Trigger};

/// Talks to the update server, for whom it says in each request. Clones are the same one.
#[derive(Clone)]
pub(super) struct OmahaSession {
    records: Blocking<CheckRecords>,
    observer: Blocking<AttemptObserver>,
    schedule: Arc<CheckSchedule>,
}

impl OmahaSession {
    pub(super) fn new(
        records: CheckRecords,
        observer: &Blocking<AttemptObserver>,
        schedule: &Arc<CheckSchedule>,
    ) -> Self {
        Self {
            records: Blocking::of(records),
            observer: observer.clone(),
            schedule: Arc::clone(schedule),
        }
    }

    /// One check; or a heartbeat, where what would be offered could not be taken.
    pub(super) async fn check(&self, trigger: Trigger) -> Checked<InstallPlan> {
        let checked = self.try_check(trigger).await.unwrap_or_else(Checked::Failed);
        let checked = self.observer.run(move |observer| {
            observer.checked(&checked);
            checked
        });
        checked.await
    }

    async fn try_check(&self, trigger: Trigger) -> Result<Checked<InstallPlan>, Failure> {
        self.observer.run(AttemptObserver::check_began).await;
        let (config, event) = self.check_event().await?;
        self.report_activation(&config, trigger).await;
        let contact = self
            .records
            .run(move |records| records.contact(trigger, event))
            .await;
        let event = match contact {
            Contact::Check(event) => {
                url(&config)?;
                // What is offered could not be taken, and the grant be followed by nobody.
                self.records.run(CheckRecords::require_writable).await?;
                event
            }
            Contact::Heartbeat(heartbeat) => return self.send_heartbeat(&config, trigger, heartbeat).await,
        };
        let reply = self
            .post(&config, trigger, Body::Check(event), Retries::Check(trigger))
            .await?;
        self.records
            .run(move |records| records.answered(&config, &reply, trigger))
            .await
    }

    /// While an update waits: a ping; or, where it may be replaced, a check for another one. A node
    /// that waits has no new outcome to report, so `previous-version` is neither told nor emptied.
    /// Nobody pings by order.
    pub(super) async fn revisit(&self, trigger: Trigger) -> Option<Checked<InstallPlan>> {
        let (config, waiting) = self.records.run(CheckRecords::config_and_waiting).await;
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!("nobody is asked beside the waiting update: {}", chain(&error));
                return None;
            }
        };
        let Some(waiting) = waiting.filter(|_| config.waiting_update == WaitingUpdate::Replaceable) else {
            match trigger {
                Trigger::Schedule => self.ping().await,
                Trigger::Operator => {
                    tracing::info!("an update waits for the reboot, and may not be replaced");
                }
            }
            return None;
        };
        let contact = self
            .records
            .run(move |records| records.contact(trigger, CheckEvent::NothingNew));
        if matches!(contact.await, Contact::Heartbeat(_)) {
            self.ping().await;
            return None;
        }
        self.observer.run(AttemptObserver::check_began).await;
        // Without an event Nebraska takes a node that installed an update for one that is busy with
        // it.
        let check = Body::Check(CheckEvent::NothingNew);
        let checked = match self.post(&config, trigger, check, Retries::Check(trigger)).await {
            Ok(reply) => {
                self.records
                    .run(move |records| records.answered_beside(&config, &reply, &waiting, trigger))
                    .await
            }
            Err(failure) => Err(failure),
        };
        let checked = checked.unwrap_or_else(|failure| {
            tracing::warn!("the waiting update is not replaced: {}", failure.reason());
            Checked::Failed(failure)
        });
        let checked = self.observer.run(move |observer| {
            observer.checked_beside(&AttemptContext::new(trigger), &checked);
            checked
        });
        Some(checked.await)
    }

    /// What a check would report of the last update, and the configuration to do so under.
    pub(super) async fn check_event(&self) -> Result<(Config, CheckEvent), Failure> {
        self.records.run(CheckRecords::check_event).await
    }

    /// Says that the node is alive.
    pub(super) async fn ping(&self) {
        let pinged = async {
            let config = self.records.run(CheckRecords::config).await?;
            self.post(&config, Trigger::Schedule, Body::Ping, Retries::None)
                .await
        };
        if let Err(failure) = pinged.await {
            tracing::warn!("the ping failed: {}", failure.reason());
        }
    }

    /// Sends the event that `report` is to the server.
    pub(super) async fn send_event(&self, attempt: &AttemptContext, report: &Report) {
        let sent = async {
            let config = self.records.run(CheckRecords::config).await?;
            let event = match report {
                Report::DownloadStarted => AttemptEvent::DownloadStarted,
                Report::DownloadFinished => AttemptEvent::DownloadFinished,
                Report::Complete => AttemptEvent::Complete,
                Report::Failed(failure) => {
                    let (code, resumed, is_public) =
                        (failure.code, attempt.resumed, config.server.is_public());
                    let flags = self
                        .records
                        .run(move |records| records.flags(is_public, resumed))
                        .await;
                    AttemptEvent::Failed(code.with(flags))
                }
            };
            self.post(&config, attempt.trigger, Body::Event(event), Retries::None)
                .await
        };
        if let Err(failure) = sent.await {
            tracing::warn!("an event did not reach the server: {}", failure.reason());
        }
    }

    /// An orderly reboot that activates an update can't tell the server: the new slot does, before
    /// anything else. Once, as of any update: that nobody listens changes nothing.
    async fn report_activation(&self, config: &Config, trigger: Trigger) {
        if !self.records.run(CheckRecords::is_activated_by_reboot).await {
            return;
        }
        let is_told = match self.records.run(CheckRecords::is_told_as_failed).await {
            Ok(is_told) => is_told,
            Err(error) => {
                tracing::warn!("what the server has heard is not known: {}", chain(&error));
                return;
            }
        };
        if !is_told {
            let complete = Body::Event(AttemptEvent::Complete);
            if let Err(failure) = self.post(config, trigger, complete, Retries::None).await {
                tracing::warn!("an event did not reach the server: {}", failure.reason());
            }
        }
        self.records.run(CheckRecords::end_activation).await;
    }

    /// Tells the server what may be told, and asks nothing.
    async fn send_heartbeat(
        &self,
        config: &Config,
        trigger: Trigger,
        heartbeat: Heartbeat,
    ) -> Result<Checked<InstallPlan>, Failure> {
        // Where there is no server, that is the reason.
        url(config)?;
        let (body, no_update) = self
            .records
            .run(move |records| records.heartbeat(heartbeat))
            .await;
        tracing::info!("the server is not asked: {}", no_update.reason);
        let told = matches!(
            body,
            Body::PingWithEvent(CheckEvent::UpdatedFrom(_) | CheckEvent::FirstCheck)
        );
        match self.post(config, trigger, body, Retries::None).await {
            // Told once more the next time: a failure would be reported to the server, and one of a
            // node that was granted an update lets the others go on.
            Ok(_) if told => {
                if let Err(error) = self.records.run(CheckRecords::forget_previous_version).await {
                    tracing::warn!("the server will be told once more: {}", chain(&error));
                }
            }
            Ok(_) => {}
            Err(failure) => tracing::warn!("the ping failed: {}", failure.reason()),
        }
        Ok(Checked::NotAsked(no_update))
    }

    /// Asks what the server would offer an operator now, as a check does: a server
    /// that misses the event may refuse. Nothing is done with the answer.
    pub(super) async fn preview_check(
        &self,
        config: &Config,
        event: CheckEvent,
    ) -> Result<CheckAnswer, Failure> {
        let url = url(config)?;
        let requester = self.requester(config, CheckRecords::requester_as_known).await?;
        let request = request(&requester, Trigger::Operator, Body::Check(event.clone()));
        let answer = Client::from_env().post(url, request, Retries::None).await;
        let reply = answer?;
        self.records
            .run(move |records| records.reported_by_preview(&event))
            .await;
        Ok(read(&reply)?.answer)
    }

    async fn post(
        &self,
        config: &Config,
        trigger: Trigger,
        body: Body,
        retries: Retries,
    ) -> Result<Reply, Failure> {
        let url = url(config)?;
        let requester = self.requester(config, CheckRecords::requester).await?;
        let is_check = matches!(body, Body::Check(_));
        let request = request(&requester, trigger, body);
        let answer = Client::from_env().post(url, request, retries).await;
        answer.map_err(|error| {
            if is_check {
                self.schedule.failed(error.status());
            }
            error.into()
        })
    }

    async fn requester(
        &self,
        config: &Config,
        read: fn(&CheckRecords, &Config) -> Result<Requester, Unreadable>,
    ) -> Result<Requester, Failure> {
        let config = config.clone();
        Ok(self.records.run(move |records| read(records, &config)).await?)
    }
}

fn request(requester: &Requester, trigger: Trigger, body: Body) -> String {
    let request = Request {
        identity: &requester.identity,
        trigger,
        deltas: requester.deltas,
        body,
    };
    request.to_xml()
}

/// The server to ask.
///
/// # Errors
/// If updates are switched off.
pub(super) fn url(config: &Config) -> Result<&str, Failure> {
    match &config.server {
        ServerSetting::At(url) => Ok(url),
        ServerSetting::Disabled => {
            let none = ErrorCode::Http(HttpStatus::None);
            let off = Failure::new(none, "updates are switched off: SERVER=disabled");
            Err(off.of_kind(Obstacle::Disabled))
        }
    }
}

/// The response in `reply`.
///
/// # Errors
/// If it is none, or the server refuses.
pub(super) fn read(reply: &Reply) -> Result<Response, Failure> {
    Ok(reply.response()?)
}

#[cfg(test)]
mod tests;
