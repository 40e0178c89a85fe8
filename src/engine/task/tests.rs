//! The task under a scripted world and a paused clock: what is done, in which order, and when.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::bus::{Account, Operation, Prospect, WaitingSlot};
use crate::engine::{Checked, Commitment, Failure, Fallback, Offered, Phase, Report, Running, Trigger};
use crate::health::{Cause, TrialEnd};
use crate::omaha::ErrorCode;

/// How long the end of an update takes.
const A_WHILE: Duration = Duration::from_millis(500);
/// How long a healthy slot is watched.
const SETTLE: Duration = Duration::from_secs(45);

/// What the world answers.
#[derive(Clone)]
struct Script {
    /// The trial ends after so long, if it does.
    trial: Option<(Duration, TrialEnd)>,
    fallback: Fallback,
    good: Result<(), String>,
    rollback: Result<String, String>,
    check: Answer,
    prepare: Result<(), Failure>,
    progress: Vec<Progress>,
    download: Result<(), Failure>,
    finish: Result<Commitment, Failure>,
    /// Whether another update is offered while one waits.
    beside: bool,
    /// Whether the update still waits when a withdrawal ends, and how that ends.
    withdrawn: (bool, Result<(), String>),
    interval: Option<Duration>,
    server: Server,
}

/// What the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    Everything,
    ChecksOnly,
    Nothing,
}

#[derive(Clone)]
enum Answer {
    NoUpdate,
    Offer,
    Failed(Failure),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            trial: Some((SETTLE, TrialEnd::Passed)),
            fallback: Fallback::Rebooting,
            good: Ok(()),
            rollback: Ok("0.9.0".to_owned()),
            check: Answer::Offer,
            prepare: Ok(()),
            progress: vec![(1, 100), (50, 100), (100, 100)],
            download: Ok(()),
            finish: Ok(Commitment::Clean),
            beside: false,
            withdrawn: (false, Ok(())),
            interval: Some(Duration::from_secs(7 * 60)),
            server: Server::Everything,
        }
    }
}

struct Scripted {
    script: Script,
    done: Mutex<Vec<String>>,
}

impl Scripted {
    /// Everything takes a moment of the paused clock, which passes only while nobody has work to do.
    async fn note(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// The same for what waits for a server that may be one of `silent`.
    async fn ask(&self, what: impl Into<String>, silent: &[Server]) {
        self.note(what).await;
        if silent.contains(&self.script.server) {
            std::future::pending::<()>().await;
        }
    }
}

impl Updater for Scripted {
    type Plan = ();
    type Ready = ();
    type Written = ();

    fn now(&self) -> i64 {
        1000
    }

    fn until_next_check(&self) -> Option<Duration> {
        self.script.interval
    }

    fn why_then(&self) -> String {
        "because".to_owned()
    }

    async fn survey(&self) -> Survey {
        Survey {
            running_version: "1.0.0".to_owned(),
            waiting_version: Some("2.0.0".to_owned()),
            ..Survey::default()
        }
    }

    async fn watch_trial(&self) -> TrialEnd {
        let watched_before = self.done.lock().unwrap().iter().any(|done| done == "fall back");
        match self.script.trial.clone().filter(|_| !watched_before) {
            Some((after, end)) => {
                tokio::time::sleep(after).await;
                end
            }
            None => std::future::pending().await,
        }
    }

    async fn fall_back(&self, _cause: Cause) -> Fallback {
        self.note("fall back").await;
        self.script.fallback.clone()
    }

    async fn mark_good_anyway(&self) -> Result<(), String> {
        self.note("mark good anyway").await;
        self.script.good.clone()
    }

    async fn roll_back(&self) -> Result<String, String> {
        self.note("roll back").await;
        self.script.rollback.clone()
    }

    async fn mark_good(&self) -> Result<(), String> {
        self.note("mark good").await;
        self.script.good.clone()
    }

    async fn preview(&self) -> Preview {
        self.note("preview").await;
        Preview {
            prospect: Prospect::NothingOffered,
            summary: "nothing".to_owned(),
            code: None,
            version: None,
            payload_sha256: None,
            bytes_total: None,
            slot: None,
            checks: Vec::new(),
        }
    }

    async fn check(&self, trigger: Trigger) -> Checked<()> {
        let question = format!("check by {trigger:?}");
        self.ask(question, &[Server::Nothing]).await;
        match self.script.check.clone() {
            Answer::NoUpdate => Checked::NoUpdate,
            Answer::Offer => {
                let version = "2.0.0".to_owned();
                Checked::Offer(Offered { version, size: 100 }, ())
            }
            Answer::Failed(failure) => Checked::Failed(failure),
        }
    }

    async fn revisit(&self) -> Option<Checked<()>> {
        self.ask("revisit", &[Server::Nothing]).await;
        self.script.beside.then(|| {
            let version = "3.0.0".to_owned();
            Checked::Offer(Offered { version, size: 300 }, ())
        })
    }

    async fn report(&self, report: &Report) {
        let event = match report {
            Report::DownloadStarted => "13/1".to_owned(),
            Report::DownloadFinished => "14/1".to_owned(),
            Report::Complete => "3/1".to_owned(),
            Report::Failed(failure) => format!("failed {}", failure.code),
        };
        self.ask(event, &[Server::ChecksOnly, Server::Nothing]).await;
    }

    async fn prepare(&self, (): ()) -> Result<(), Failure> {
        self.note("prepare").await;
        self.script.prepare.clone()
    }

    async fn download(
        &self,
        (): (),
        progress: watch::Sender<Progress>,
        _cancel: CancellationToken,
    ) -> Result<(), Failure> {
        self.note("download").await;
        for report in &self.script.progress {
            progress.send(*report).unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.script.download.clone()
    }

    async fn finish(&self, (): (), _cancel: CancellationToken) -> Result<Commitment, Failure> {
        self.note("finish").await;
        tokio::time::sleep(A_WHILE).await;
        self.script.finish.clone()
    }

    async fn remember_pending(&self) {
        self.note("remember").await;
    }

    async fn is_pending(&self) -> bool {
        self.script.withdrawn.0
    }

    async fn forget_pending(&self) {
        self.note("forget").await;
    }

    async fn withdraw(&self) -> Result<(), String> {
        self.note("withdraw").await;
        self.script.withdrawn.1.clone()
    }
}

/// A running engine.
struct World {
    updater: Arc<Scripted>,
    commands: mpsc::Sender<Command>,
    statuses: mpsc::UnboundedReceiver<Status>,
    account: watch::Receiver<Account>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl World {
    fn start(state: State, script: Script) -> Self {
        let updater = Arc::new(Scripted {
            script,
            done: Mutex::default(),
        });
        let (outlets, news) = Outlets::new();
        let (commands, receiver) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let engine = Engine::new(
            Arc::clone(&updater),
            (state, Survey::default()),
            outlets,
            stop.clone(),
        );
        Self {
            updater,
            commands,
            statuses: news.statuses,
            account: news.account,
            stop,
            task: tokio::spawn(engine.run(receiver)),
        }
    }

    async fn attempt(&self) {
        let (reply, answer) = oneshot::channel();
        let command = Command::AttemptUpdate(reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap();
    }

    async fn reset(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        let command = Command::ResetStatus(reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    async fn withdraw(&self, slot: WaitingSlot) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Withdraw(slot, reply);
        self.commands.send(command).await.unwrap();
        answer.await.unwrap()
    }

    async fn status(&self) -> Status {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::GetStatus(reply)).await.unwrap();
        answer.await.unwrap()
    }

    /// The signals up to the first one of `operation`.
    async fn signals_until(&mut self, operation: Operation) -> Vec<Status> {
        let mut signals = Vec::new();
        loop {
            let status = self.statuses.recv().await.unwrap();
            signals.push(status);
            if signals.last().unwrap().operation == operation {
                return signals;
            }
        }
    }

    /// Stops the engine; gives what was done.
    async fn end(self) -> Vec<String> {
        self.stop.cancel();
        self.task.await.unwrap();
        self.updater.done.lock().unwrap().clone()
    }
}

fn good() -> State {
    State {
        running: Running::Good,
        ..State::idle()
    }
}

/// The signals of an attempt after the one of the start.
async fn attempt(script: Script, until: Operation) -> (Vec<Operation>, Vec<String>) {
    let mut world = World::start(good(), script);
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    let signals = world.signals_until(until).await;
    let operations = signals.iter().map(|status| status.operation).collect();
    (operations, world.end().await)
}

#[tokio::test(start_paused = true)]
async fn a_good_update_tells_the_server_at_each_stage() {
    let (signals, done) = attempt(Script::default(), Operation::UpdatedNeedReboot).await;
    assert_eq!(
        done,
        [
            "check by Operator",
            "prepare",
            "13/1",
            "download",
            "14/1",
            "finish",
            "remember",
            "3/1"
        ]
    );
    assert_eq!(
        signals,
        [
            Operation::CheckingForUpdate,
            Operation::UpdateAvailable,
            Operation::Downloading,
            Operation::Downloading,
            Operation::Downloading,
            Operation::Finalizing,
            Operation::UpdatedNeedReboot
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_before_the_download_downloads_nothing() {
    let script = Script {
        prepare: Err(Failure::new(ErrorCode::Error, "no room on /boot")),
        ..Script::default()
    };
    let (_, done) = attempt(script, Operation::Idle).await;
    assert_eq!(done, ["check by Operator", "prepare", "failed 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_is_reported() {
    let failure = Failure::new(ErrorCode::XmlParse, "not well formed");
    let script = Script {
        check: Answer::Failed(failure),
        ..Script::default()
    };
    let (signals, done) = attempt(script, Operation::Idle).await;
    assert_eq!(done, ["check by Operator", "failed 31"]);
    assert_eq!(
        signals,
        [
            Operation::CheckingForUpdate,
            Operation::ReportingErrorEvent,
            Operation::Idle
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_state_is_checking_when_attempt_update_is_answered() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    assert_eq!(world.status().await.operation, Operation::CheckingForUpdate);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_on_trial_asks_but_installs_nothing() {
    let script = Script {
        good: Err("the health gate is pending".to_owned()),
        ..Script::default()
    };
    let mut world = World::start(State::idle(), script);
    world.attempt().await;
    world.signals_until(Operation::ReportingErrorEvent).await;
    world.signals_until(Operation::Idle).await;
    assert_eq!(world.end().await, ["mark good", "check by Operator", "failed 36"]);
}

#[tokio::test(start_paused = true)]
async fn the_running_slot_is_marked_good_when_its_trial_ends() {
    let world = World::start(State::idle(), Script::default());
    tokio::time::sleep(SETTLE.saturating_sub(Duration::from_millis(1))).await;
    assert!(world.updater.done.lock().unwrap().is_empty());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(world.end().await, ["mark good"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_stays_on_trial_is_looked_at_again() {
    let script = Script {
        good: Err("the health gate is pending".to_owned()),
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(SETTLE + MARK_GOOD_AGAIN * 3 / 2).await;
    assert_eq!(world.end().await, ["mark good", "mark good"]);
}

fn unhealthy() -> TrialEnd {
    TrialEnd::Failed(Cause::Systemd {
        reason: "because".to_owned(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_not_healthy_in_time_is_left() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.end().await, ["fall back"]);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_cannot_be_left_defers_updates_and_says_why() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        fallback: Fallback::Stays("the other slot is not good".to_owned()),
        good: Err("unhealthy".to_owned()),
        interval: None,
        ..Script::default()
    };
    let mut world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(700)).await;
    world.attempt().await;
    world.signals_until(Operation::ReportingErrorEvent).await;
    let done = world.end().await;
    assert_eq!(
        done[..4],
        ["fall back", "mark good", "check by Operator", "failed 36"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_trial_changes_nothing_once_the_slot_is_good() {
    let script = Script {
        trial: Some((Duration::from_secs(600), unhealthy())),
        check: Answer::NoUpdate,
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    world.attempt().await;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(world.end().await, ["mark good", "check by Operator"]);
}

#[tokio::test(start_paused = true)]
async fn checks_follow_the_schedule() {
    let script = Script {
        check: Answer::NoUpdate,
        ..Script::default()
    };
    let world = World::start(good(), script);
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    assert_eq!(world.end().await, ["check by Timer", "check by Timer"]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_check_by_itself_still_marks_good() {
    let script = Script {
        interval: None,
        ..Script::default()
    };
    let world = World::start(State::idle(), script);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(world.end().await, ["mark good"]);
}

#[tokio::test(start_paused = true)]
async fn a_pending_reboot_only_pings() {
    let mut world = World::start(State::reboot_pending(), Script::default());
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(world.end().await, ["revisit"]);
}

#[tokio::test(start_paused = true)]
async fn another_update_takes_the_place_of_one_that_waits() {
    let script = Script {
        beside: true,
        ..Script::default()
    };
    let mut world = World::start(State::reboot_pending(), script);
    world.signals_until(Operation::UpdateAvailable).await;
    let signals = world.signals_until(Operation::UpdatedNeedReboot).await;
    assert_eq!(signals.last().unwrap().new_version, "3.0.0");
    let done = world.end().await;
    assert_eq!(
        done,
        [
            "revisit", "prepare", "13/1", "download", "14/1", "finish", "remember", "3/1"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_drops_the_question_beside_the_update_and_the_schedule_goes_on() {
    let script = Script {
        server: Server::Nothing,
        ..Script::default()
    };
    let world = World::start(State::reboot_pending(), script);
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    assert!(world.reset().await);
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    assert_eq!(world.end().await, ["revisit", "forget", "check by Timer"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_reset_the_next_attempt_checks_again() {
    let mut world = World::start(State::reboot_pending(), Script::default());
    assert!(world.reset().await);
    assert_eq!(world.status().await, Status::default());
    world.attempt().await;
    world.signals_until(Operation::CheckingForUpdate).await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    let done = world.end().await;
    assert_eq!(done[..2], ["forget", "check by Operator"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_answered_when_the_slot_is_unbootable() {
    let world = World::start(State::reboot_pending(), Script::default());
    assert_eq!(world.withdraw(WaitingSlot::Unbootable).await, Ok(()));
    assert_eq!(world.status().await.operation, Operation::Idle);
    assert_eq!(world.end().await, ["withdraw"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_says_why_and_what_still_waits() {
    for (waits, operation) in [(true, Operation::UpdatedNeedReboot), (false, Operation::Idle)] {
        let failed = Err("the table can't be written".to_owned());
        let script = Script {
            withdrawn: (waits, failed.clone()),
            ..Script::default()
        };
        let world = World::start(State::reboot_pending(), script);
        assert_eq!(world.withdraw(WaitingSlot::Unbootable).await, failed);
        assert_eq!(world.status().await.operation, operation);
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_keeps_the_slot_is_a_reset() {
    let world = World::start(State::reboot_pending(), Script::default());
    assert_eq!(world.withdraw(WaitingSlot::Kept).await, Ok(()));
    assert_eq!(world.withdraw(WaitingSlot::Kept).await, Ok(()));
    assert_eq!(world.end().await, ["forget"]);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_while_busy_is_refused_with_a_reason() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    let refused = world.withdraw(WaitingSlot::Kept).await.unwrap_err();
    assert_eq!(refused, "a withdrawal has no meaning while a check is under way");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn reset_while_busy_is_refused() {
    let world = World::start(State::idle(), Script::default());
    world.attempt().await;
    assert!(!world.reset().await);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_task() {
    let world = World::start(State::idle(), Script::default());
    assert!(world.end().await.is_empty());
}

/// Whether the engine stops within a second of the paused clock.
async fn stops_at_once(world: World) {
    let end = tokio::time::timeout(Duration::from_secs(1), world.end());
    assert!(end.await.is_ok(), "the end waits for the server");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_no_answer_of_the_server() {
    for server in [Server::ChecksOnly, Server::Nothing] {
        let script = Script {
            server,
            ..Script::default()
        };
        let attempting = World::start(good(), script.clone());
        attempting.attempt().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        stops_at_once(attempting).await;

        let pinging = World::start(State::reboot_pending(), script);
        tokio::time::sleep(Duration::from_secs(8 * 60)).await;
        stops_at_once(pinging).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_while_the_engine_stops_is_remembered() {
    let mut world = World::start(good(), Script::default());
    world.attempt().await;
    world.signals_until(Operation::Finalizing).await;
    tokio::time::sleep(A_WHILE / 2).await;
    let done = world.end().await;
    assert_eq!(done[done.len() - 2..], ["finish", "remember"]);
}

#[test]
fn a_state_to_start_from_is_idle_or_waits_for_the_reboot() {
    assert_eq!(State::idle().phase(), &Phase::Idle);
    assert_eq!(State::reboot_pending().phase(), &Phase::NeedReboot);
}

#[tokio::test(start_paused = true)]
async fn our_own_interface_learns_of_versions_times_and_causes_without_asking() {
    let mut world = World::start(good(), Script::default());
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    world.signals_until(Operation::UpdatedNeedReboot).await;
    let is_settled = |account: &Account| account.overview.running_version == "1.0.0";
    let overview = world.account.wait_for(is_settled).await.unwrap().overview.clone();
    assert_eq!(overview.summary, "2.0.0 is installed: reboot to use it");
    assert_eq!(overview.progress, None.into());
    let next = overview.next_check.0.unwrap();
    assert_eq!((next.time, next.why.as_str()), (Some(1000 + 7 * 60), "because"));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_says_already_when_the_first_check_comes() {
    let world = World::start(good(), Script::default());
    // Its task has not run yet.
    let next = world.account.borrow().overview.next_check.0.clone();
    assert_eq!(next.unwrap().time, Some(1000 + 7 * 60));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_published_with_its_causes_and_a_new_attempt_clears_it() {
    let failure = Failure {
        causes: vec!["the cable".to_owned()],
        ..Failure::new(ErrorCode::XmlParse, "not well formed")
    };
    let script = Script {
        check: Answer::Failed(failure),
        ..Script::default()
    };
    let mut world = World::start(good(), script);
    world.signals_until(Operation::Idle).await;
    world.attempt().await;
    world.signals_until(Operation::Idle).await;
    let overview = world.account.borrow_and_update().overview.clone();
    let told = overview.last_failure.0.unwrap();
    assert_eq!((told.code, told.causes), (31, vec!["the cable".to_owned()]));
    assert_eq!(overview.no_update.0.unwrap().reason, "not well formed: the cable");
    world.attempt().await;
    assert_eq!(world.account.borrow().overview.last_failure, None.into());
    world.end().await;
}
