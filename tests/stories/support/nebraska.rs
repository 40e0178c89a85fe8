//! Nebraska, as far as nodes can tell: instances and their states, which events it takes, when it
//! refuses, what its brakes do. Held to recordings of the real one by
//! `nebraska::the_stand_in_answers_as_the_real_one_did`.
//!
//! ```text
//!  Granted ── 13/1 ─▶ Downloading ── 14/1 ─▶ Downloaded ── 3/2 from another version ─▶ Complete
//!     └────────── any result 0 ─▶ Error;   3/2 with previousversion "" or "0.0.0.0" ─▶ Undefined
//! ```
//! Events count only while an update is in progress, which these states but the last three are.
//! While one is downloaded a check is refused; a node that lost its way says 3/2 to begin anew.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use update_engine::serve::{App, Ask, NodeEvent, OmahaQuestion};

use test_support::server::Recorded;

/// Nebraska knows by it that an update isn't over before the reboot.
const FLATCAR: &str = "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}";

/// What an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Undefined,
    Granted,
    Error,
    Complete,
    Downloaded,
    Downloading,
    OnHold,
}

/// One node's row.
#[derive(Debug, Clone, Default)]
pub struct Instance {
    machine: String,
    version: String,
    /// Each state that it was in, in order.
    pub states: Vec<State>,
    /// Events that were taken note of, as type and result.
    pub events: Vec<(u32, u32)>,
    /// What it was granted last, and when.
    granted: Option<(String, u64)>,
    in_progress: bool,
}

impl Instance {
    /// What it is now; nothing before the first answer that makes it something.
    pub fn state(&self) -> Option<State> {
        self.states.last().copied()
    }

    pub const fn is_in_progress(&self) -> bool {
        self.in_progress
    }

    fn enter(&mut self, state: State) {
        if self.state() != Some(state) {
            self.states.push(state);
        }
        self.in_progress = matches!(state, State::Granted | State::Downloading | State::Downloaded);
    }

    fn take(&mut self, event: &NodeEvent, is_flatcar: bool) {
        if !self.in_progress {
            return;
        }
        let what = (event.kind, event.result);
        let previous = event.previous_version.as_deref().unwrap_or_default();
        if is_flatcar && what == (3, 2) && matches!(previous, "" | "0.0.0.0") {
            self.enter(State::Undefined);
            return;
        }
        self.events.push(what);
        match what {
            (3, 1) if is_flatcar => {}
            (3, 1 | 2) => self.enter(State::Complete),
            (13, 1) => self.enter(State::Downloading),
            (14, 1) => self.enter(State::Downloaded),
            (_, 0) => self.enter(State::Error),
            _ => {}
        }
    }
}

/// What a group lets happen at a time. Times in milliseconds.
#[derive(Debug, Clone)]
pub struct Policy {
    pub safe_mode: bool,
    pub updates: usize,
    pub period: u64,
    pub timeout: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            safe_mode: false,
            updates: 999_999,
            period: 60_000,
            timeout: 3_600_000,
        }
    }
}

/// The group's package and policy, and its instances.
#[derive(Default)]
pub struct Group {
    /// The version of the package.
    pub version: String,
    /// Where and what it is: the inside of `<updatecheck>`.
    pub offer: String,
    /// The policy's refusal, such as `error-updatesDisabled`.
    pub refusal: Option<&'static str>,
    pub policy: Policy,
    /// Safe mode has switched updates off.
    pub is_off: bool,
    /// The time, in milliseconds, for whatever times out.
    pub clock: u64,
    /// In the order of their first question.
    pub instances: Vec<Instance>,
    /// Events that no Nebraska knows.
    pub unknown: Vec<(u32, u32)>,
    /// Everything that was asked.
    pub questions: Vec<OmahaQuestion>,
}

impl Group {
    /// The states of the instance that came first, in order.
    pub fn states(&self) -> Vec<State> {
        self.instances
            .first()
            .map(|first| first.states.clone())
            .unwrap_or_default()
    }

    /// The events of the instance that came first.
    pub fn events(&self) -> Vec<(u32, u32)> {
        self.instances
            .first()
            .map(|first| first.events.clone())
            .unwrap_or_default()
    }

    /// The row of a machine, if it has one.
    pub fn instance(&self, machine: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.machine == machine)
    }

    /// What another machine, which runs 1.0.0, is told when it asks now: the status of its
    /// application.
    pub fn asked_by(&mut self, machine: &str) -> &'static str {
        self.check(&App {
            id: FLATCAR.to_owned(),
            version: "1.0.0".to_owned(),
            machine: machine.to_owned(),
            ..App::default()
        })
        .0
    }

    fn row(&mut self, app: &App) -> &mut Instance {
        let known = self.instances.iter().position(|row| row.machine == app.machine);
        let at = known.unwrap_or_else(|| {
            self.instances.push(Instance {
                machine: app.machine.clone(),
                ..Instance::default()
            });
            self.instances.len() - 1
        });
        let row = &mut self.instances[at];
        row.version.clone_from(&app.version);
        row
    }

    fn take(&mut self, event: &NodeEvent, app: &App) {
        let what = (event.kind, event.result);
        if !matches!(what, (3, 0..=2) | (13 | 14 | 800, 1)) {
            self.unknown.push(what);
            return;
        }
        let mut instances = self.instances.iter_mut();
        if let Some(row) = instances.find(|row| row.machine == app.machine) {
            row.take(event, app.id == FLATCAR);
        }
    }

    /// Why nobody, or not this one, may update now.
    fn brake(&mut self) -> Option<&'static str> {
        if let Some(why) = self.refusal {
            return Some(why);
        }
        if self.is_off {
            return Some("error-updatesDisabled");
        }
        let Policy {
            safe_mode,
            updates,
            period,
            timeout,
        } = self.policy;
        let granted_since = |instance: &Instance, span: u64| {
            let granted = instance.granted.as_ref();
            granted.is_some_and(|(_, at)| at + span > self.clock)
        };
        let count =
            |holds: &dyn Fn(&Instance) -> bool| self.instances.iter().filter(|row| holds(row)).count();
        let over = count(&|row| {
            let version = row.granted.as_ref().map(|(version, _)| version);
            !row.in_progress && version == Some(&self.version)
        });
        let most = if safe_mode && over == 0 { 1 } else { updates };
        if count(&|row| granted_since(row, period)) >= most {
            return Some("error-maxUpdatesPerPeriodLimitReached");
        }
        if count(&|row| row.in_progress && granted_since(row, timeout)) >= most {
            return Some("error-maxConcurrentUpdatesLimitReached");
        }
        if safe_mode && count(&|row| row.in_progress && !granted_since(row, timeout)) >= most {
            self.is_off = true;
            return Some("error-maxTimedOutUpdatesLimitReached");
        }
        None
    }

    /// Status of the application, and what stands in and on `<updatecheck>`.
    fn check(&mut self, app: &App) -> (&'static str, &'static str, String) {
        const NO_URLS: &str = "<urls></urls>";
        let refused = |why| (why, "error-internal", NO_URLS.to_owned());
        let package = self.version.clone();
        let offer = ("ok", "ok", self.offer.clone());
        let row = self.row(app);
        match row.state() {
            Some(State::Downloading | State::Downloaded) => {
                return refused("error-updateInProgressOnInstance");
            }
            Some(State::Granted) => return offer,
            _ => {}
        }
        if row.version == package {
            row.enter(State::Complete);
            return ("ok", "noupdate", NO_URLS.to_owned());
        }
        if let Some(why) = self.brake() {
            if why.starts_with("error-max") {
                self.row(app).enter(State::OnHold);
            }
            return refused(why);
        }
        let granted = Some((package, self.clock));
        let row = self.row(app);
        row.granted = granted;
        row.enter(State::Granted);
        offer
    }

    /// Events come first, then the ping, then the check.
    pub fn answer(&mut self, question: &OmahaQuestion) -> String {
        self.questions.push(question.clone());
        let mut events = String::new();
        for ask in &question.asks {
            if let Ask::Event(event) = ask {
                self.take(event, &question.app);
                events.push_str(r#"<event status="ok"></event>"#);
            }
        }
        let (mut status, mut check, mut ping) = ("ok", String::new(), "");
        if question.asks.contains(&Ask::Ping) {
            self.row(&question.app);
            ping = r#"<ping status="ok"></ping>"#;
        }
        if question.asks.contains(&Ask::UpdateCheck) {
            let (app, update, inside) = self.check(&question.app);
            status = app;
            check = format!(r#"<updatecheck status="{update}">{inside}</updatecheck>"#);
        }
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<response protocol="3.0" server="nebraska"><daystart elapsed_seconds="0"></daystart><app appid="{}" status="{status}">{ping}{check}{events}</app></response>"#,
            question.app.id
        )
    }
}

pub struct Nebraska {
    port: u16,
    group: Arc<Mutex<Group>>,
    closing: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Nebraska {
    pub fn start(group: Group) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (group, closing) = (Arc::new(Mutex::new(group)), Arc::new(AtomicBool::new(false)));
        let (shared, over) = (Arc::clone(&group), Arc::clone(&closing));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                // A node that hangs up is its own business.
                let _ = converse(stream, &shared);
            }
        });
        Self {
            port,
            group,
            closing,
            acceptor: Some(acceptor),
        }
    }

    /// What a node's `SERVER=` must be.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/update/", self.port)
    }

    /// Looks at, or changes, what the server knows.
    pub fn group<T>(&self, look: impl FnOnce(&mut Group) -> T) -> T {
        look(&mut self.group.lock().unwrap())
    }
}

impl Drop for Nebraska {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            assert!(acceptor.join().is_ok() || std::thread::panicking());
        }
    }
}

fn converse(mut stream: TcpStream, group: &Mutex<Group>) -> std::io::Result<()> {
    let Some(request) = Recorded::read(&mut stream)? else {
        return Ok(());
    };
    let question = OmahaQuestion::parse(std::str::from_utf8(&request.body).unwrap()).unwrap();
    let body = group.lock().unwrap().answer(&question);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
