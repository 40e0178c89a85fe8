//! What is said to the update server.
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

use payload_format::Sha256Digest;

use super::{Node, slots};
use crate::config::{Config, Server, WaitingUpdate};
use crate::disk::Guard;
use crate::engine::{AttemptContext, Checked, Failure, Report};
use crate::host::{Identity as HostIdentity, NodeMode};
use crate::journal::chain;
use crate::omaha::{
    Answer, Body, CheckEvent, Client, Deltas, ErrorCode, Event, Flags, HttpStatus, Identity, Machine, Reply,
    Request, Response, Retries,
};
use crate::plan::InstallPlan;
use crate::policy::{Contact, History, RunningSlot, ServerPace, wanted_deltas};
use crate::status::{Obstacle, Trigger};
use crate::store::Key;

impl Node {
    pub(super) async fn ask(&self, trigger: Trigger) -> Result<Checked<InstallPlan>, Failure> {
        self.attempt_fields.begin();
        let (config, news) = self.blocking(Self::news).await?;
        let contact = self.blocking(move |node| node.contact(trigger, news)).await;
        let event = match contact {
            Contact::Check(event) => {
                url(&config)?;
                // What is offered could not be taken, and the grant be followed by nobody.
                self.blocking(|node| node.prefs.require_writable()).await?;
                event
            }
            Contact::Heartbeat(heartbeat) => return self.stay_in_touch(&config, trigger, heartbeat).await,
        };
        let reply = self
            .post(&config, trigger, Body::Check(event), Retries::Check(trigger))
            .await?;
        self.blocking(move |node| node.answered(&config, &reply, trigger))
            .await
    }

    /// While an update waits: a ping; or, where it may be replaced, a question for another one. Whoever waits
    /// learns nothing new by asking, so `previous-version` is neither told nor emptied. Nobody pings by order.
    pub(super) async fn ask_beside_waiting(&self, trigger: Trigger) -> Option<Checked<InstallPlan>> {
        let (config, waiting) = self
            .blocking(|node| (node.config(), node.waiting_payload()))
            .await;
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                tracing::warn!("nobody is asked beside the waiting update: {}", chain(&error));
                return None;
            }
        };
        let Some(waiting) = waiting.filter(|_| config.waiting_update == WaitingUpdate::Replaceable) else {
            match trigger {
                Trigger::Schedule => self.say_ping().await,
                Trigger::Operator => {
                    tracing::info!("an update waits for the reboot, and may not be replaced");
                }
            }
            return None;
        };
        let contact = move |node: &Self| node.contact(trigger, CheckEvent::NothingNew);
        if matches!(self.blocking(contact).await, Contact::Heartbeat(_)) {
            self.say_ping().await;
            return None;
        }
        self.attempt_fields.begin();
        // Without an event Nebraska takes a node that installed an update for one that is busy with it.
        let check = Body::Check(CheckEvent::NothingNew);
        let checked = match self.post(&config, trigger, check, Retries::Check(trigger)).await {
            Ok(reply) => {
                self.blocking(move |node| node.answered_beside(&config, &reply, &waiting, trigger))
                    .await
            }
            Err(failure) => Err(failure),
        };
        let checked = checked.unwrap_or_else(|failure| {
            tracing::warn!("the waiting update is not replaced: {}", failure.reason());
            Checked::Failed(failure)
        });
        if let Checked::Failed(failure) = &checked {
            let (obstacle, until) = (failure.obstacle, failure.until);
            let nothing_taken = AttemptContext::new(trigger);
            self.blocking(move |node| node.hold_off_after(&nothing_taken, obstacle, until))
                .await;
        }
        if !matches!(checked, Checked::Offer(_)) {
            self.attempt_fields.end();
        }
        if let Some(end) = checked.end() {
            self.count_in(move |tally, now| tally.checked(end, now)).await;
        }
        Some(checked)
    }

    pub(super) async fn say_ping(&self) {
        let pinged = async {
            let config = self.blocking(Self::config).await?;
            self.post(&config, Trigger::Schedule, Body::Ping, Retries::None)
                .await
        };
        if let Err(failure) = pinged.await {
            tracing::warn!("the ping failed: {}", failure.reason());
        }
    }

    pub(super) async fn say(&self, attempt: &AttemptContext, report: &Report) {
        let config = self.blocking(Self::config).await;
        let event = |config: &Config| match report {
            Report::DownloadStarted => Event::DownloadStarted,
            Report::DownloadFinished => Event::DownloadFinished,
            Report::Complete => Event::Complete,
            Report::Failed(failure) => Event::Failed(failure.code.with(self.flags(config, attempt.resumed))),
        };
        if let Report::Failed(failure) = report {
            self.note_failure(attempt, failure).await;
        }
        let told = async {
            let config = config?;
            let body = Body::Event(event(&config));
            self.post(&config, attempt.trigger, body, Retries::None).await
        };
        if let Err(failure) = told.await {
            tracing::warn!("an event did not reach the server: {}", failure.reason());
        }
        if matches!(report, Report::Complete | Report::Failed(_)) {
            self.attempt_fields.end();
        }
    }

    /// Order of writes, and what a cut between leaves behind:
    /// 1. `previous-version` emptied: the news was told, and what `full-response` holds is of an earlier
    ///    check, which postinst sees by its age;
    /// 2. `full-response` written: postinst may use it;
    /// 3. a rollback counts as reported: before this it is reported once more.
    fn answered(
        &self,
        config: &Config,
        reply: &Reply,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        tracing::info!("Omaha request response: {}", String::from_utf8_lossy(&reply.body));
        self.prefs.set(Key::PreviousVersion, "")?;
        self.prefs.set_full_response(&reply.body)?;
        self.change_history(History::reported)?;
        let answer = self.read_answer(reply)?;
        self.end_hold_off();
        match answer {
            Answer::NoUpdate => Ok(Checked::NoUpdate),
            Answer::Offer(offer) => self.consider(config, offer, trigger),
        }
    }

    /// The payload that waits is what the server should still offer. `full-response` is its own, until another
    /// offer is taken.
    fn answered_beside(
        &self,
        config: &Config,
        reply: &Reply,
        waiting: &Sha256Digest,
        trigger: Trigger,
    ) -> Result<Checked<InstallPlan>, Failure> {
        match self.read_answer(reply)? {
            Answer::Offer(offer) if offer.sha256 != *waiting => {
                let checked = self.consider(config, offer, trigger)?;
                tracing::info!("Omaha request response: {}", String::from_utf8_lossy(&reply.body));
                self.prefs.set_full_response(&reply.body)?;
                Ok(checked)
            }
            Answer::Offer(_) | Answer::NoUpdate => Ok(Checked::NoUpdate),
        }
    }

    fn read_answer(&self, reply: &Reply) -> Result<Answer, Failure> {
        let response = read(reply)?;
        self.memory(|memory| {
            memory.outcome = Some(ServerPace {
                failure: None,
                poll_interval: response.poll_interval,
            });
        });
        Ok(response.answer)
    }

    pub(super) async fn post(
        &self,
        config: &Config,
        trigger: Trigger,
        body: Body,
        retries: Retries,
    ) -> Result<Reply, Failure> {
        let url = url(config)?;
        let identity = self.identity(config).await?;
        let deltas = self.blocking(Self::deltas).await;
        let is_check = matches!(body, Body::Check(_));
        let request = Request {
            identity: &identity,
            trigger,
            deltas,
            body,
        };
        let answer = Client::from_env().post(url, request.to_xml(), retries).await;
        answer.map_err(|error| {
            if is_check {
                self.memory(|memory| {
                    memory.outcome = Some(ServerPace {
                        failure: Some(error.status()),
                        poll_interval: None,
                    });
                });
            }
            error.into()
        })
    }

    /// Asks what the server would offer somebody who wants an update now, as a check does: a server that misses the event
    /// may refuse. Nothing is done with the answer.
    pub(super) async fn question(&self, config: &Config, event: CheckEvent) -> Result<Answer, Failure> {
        let url = url(config)?;
        let version = config.version.clone();
        let (host, deltas, aleph) = self
            .blocking(|node| (node.host().identity(), node.deltas(), node.known_aleph()))
            .await;
        let identity = identity(config, host?, aleph.unwrap_or(version));
        let request = Request {
            identity: &identity,
            trigger: Trigger::Operator,
            deltas,
            body: Body::Check(event.clone()),
        };
        let answer = Client::from_env()
            .post(url, request.to_xml(), Retries::None)
            .await;
        let reply = answer?;
        self.blocking(move |node| node.told(&event)).await;
        Ok(read(&reply)?.answer)
    }

    async fn identity(&self, config: &Config) -> Result<Identity, Failure> {
        let version = config.version.clone();
        let (host, aleph) = self
            .blocking(move |node| (node.host().identity(), node.aleph(&version)))
            .await;
        Ok(identity(config, host?, aleph))
    }

    /// The first version ever seen on this machine: this one, if none was seen before. One that can't be read counts as
    /// forgotten, and is left where it is. That it can't be kept is no reason to tell the server nothing.
    fn aleph(&self, version: &str) -> String {
        let kept = match self.prefs.get(Key::AlephVersion) {
            Ok(Some(aleph)) if !aleph.is_empty() => return aleph,
            Ok(_) => self.prefs.set(Key::AlephVersion, version),
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::warn!("the first version counts as forgotten: {}", chain(&error));
        }
        version.to_owned()
    }

    fn known_aleph(&self) -> Option<String> {
        self.recall(Key::AlephVersion).filter(|aleph| !aleph.is_empty())
    }

    /// A preference. One that can't be read counts as forgotten: it is our own, and nobody could put it right.
    pub(super) fn recall(&self, key: Key) -> Option<String> {
        self.prefs.get(key).unwrap_or_else(|error| {
            tracing::warn!("{} counts as forgotten: {}", key.name(), chain(&error));
            None
        })
    }

    /// Whether a delta would do.
    fn deltas(&self) -> Deltas {
        // What can't be read counts as never written.
        let failures = self.prefs.get_number(Key::DeltaUpdateFailures).ok().flatten();
        let slot = self.memory(|memory| memory.running.clone());
        let is_guarded = || slots::open(&self.settings).is_ok_and(|disk| disk.guard() == Guard::Verity);
        let running = if slot.is_some_and(|slot| self.history().is_filled(&slot)) || is_guarded() {
            RunningSlot::Intact
        } else {
            RunningSlot::Unknown
        };
        wanted_deltas(running, failures.unwrap_or(0))
    }

    fn flags(&self, config: &Config, resumed: bool) -> Flags {
        let mut flags = Flags::NONE;
        if !config.server.is_public() {
            flags |= Flags::PRIVATE_SERVER;
        }
        // Nothing is asked where nobody knows; what is told of an attempt under way goes without the flag then.
        if matches!(self.host().mode(), Ok(NodeMode::Developer)) {
            flags |= Flags::DEV_IMAGE;
        }
        if resumed {
            flags |= Flags::RESUMED;
        }
        flags
    }
}

pub(super) fn url(config: &Config) -> Result<&str, Failure> {
    match &config.server {
        Server::At(url) => Ok(url),
        Server::Disabled => {
            let none = ErrorCode::Http(HttpStatus::None);
            let off = Failure::new(none, "updates are switched off: SERVER=disabled");
            Err(off.of_kind(Obstacle::Disabled))
        }
    }
}

fn identity(config: &Config, host: HostIdentity, aleph_version: String) -> Identity {
    let machine = Machine {
        boot_id: host.boot_id,
        machine_id: host.machine_id,
        machine: host.machine,
        aleph_version,
    };
    config.identity(&machine)
}

pub(super) fn read(reply: &Reply) -> Result<Response, Failure> {
    Ok(reply.response()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::engine::{DiskChoice, Settings};
    use crate::host::Host;
    use crate::install::Postinst;

    /// A node that asks a server which answers every request with status 503.
    fn node_of_an_overloaded_server(root: &std::path::Path) -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let config = root.join("etc/flatcar/update.conf");
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        let server = format!("SERVER=http://{}/\n", listener.local_addr().unwrap());
        std::fs::write(config, server).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 503 No\r\nConnection: close\r\n\r\n");
            }
        });
        Node::new(Settings {
            host: Host::new(root),
            disk: DiskChoice::OfUsr,
            postinst: Postinst::Skip,
        })
    }

    #[tokio::test]
    async fn an_overloaded_server_slows_checks_down_when_it_refuses_one_and_not_an_event() {
        let root = tempfile::tempdir().unwrap();
        let node = node_of_an_overloaded_server(root.path());
        let attempt = AttemptContext::new(Trigger::Schedule);
        node.say(&attempt, &Report::DownloadStarted).await;
        node.say_ping().await;
        assert_eq!(node.memory(|memory| memory.outcome), None);
        node.ask(Trigger::Schedule).await.unwrap_err();
        let failure = node.memory(|memory| memory.outcome).unwrap().failure;
        assert_eq!(failure, Some(HttpStatus::Status(503)));
    }
}
