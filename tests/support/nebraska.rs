//! Nebraska, as far as one node can tell: instances and their states, which events it takes, when it refuses.
//!
//! ```text
//!  Undefined ── check ─▶ Granted ── 13/1 ─▶ Downloading ── 14/1 ─▶ Downloaded ── 3/2 from another version ─▶ Complete
//!      ▲                    └────────── any result 0 ─▶ Error
//!      └── 3/2 with previousversion "" or "0.0.0.0", in whatever state
//! ```
//! While an update is in progress a check is refused; a node that lost its way says 3/2 to begin anew.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use update_engine::serve::{Ask, Event, Question};

use super::server::Recorded;

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
}

/// The group's package and policy, and the one instance.
#[derive(Default)]
pub struct Group {
    /// The version of the package.
    pub version: String,
    /// Where and what it is: the inside of `<updatecheck>`.
    pub offer: String,
    /// The policy's refusal, such as `error-updatesDisabled`.
    pub refusal: Option<&'static str>,
    /// Each state that the instance was in, in order.
    pub states: Vec<State>,
    /// Events that were taken note of, as type and result.
    pub events: Vec<(u32, u32)>,
    /// Events that no Nebraska knows.
    pub unknown: Vec<(u32, u32)>,
}

impl Group {
    fn state(&self) -> State {
        self.states.last().copied().unwrap_or_default()
    }

    fn enter(&mut self, state: State) {
        if self.states.last() != Some(&state) {
            self.states.push(state);
        }
    }

    fn in_progress(&self) -> bool {
        matches!(
            self.state(),
            State::Granted | State::Downloading | State::Downloaded
        )
    }

    fn take(&mut self, event: &Event) {
        let what = (event.kind, event.result);
        if !matches!(what, (3, 0..=2) | (13 | 14 | 800, 1)) {
            self.unknown.push(what);
            return;
        }
        let previous = event.previous_version.as_deref().unwrap_or_default();
        if what == (3, 2) && matches!(previous, "" | "0.0.0.0") {
            self.enter(State::Undefined);
            return;
        }
        if !self.in_progress() {
            return;
        }
        self.events.push(what);
        match what {
            (3, 2) => self.enter(State::Complete),
            (13, 1) => self.enter(State::Downloading),
            (14, 1) => self.enter(State::Downloaded),
            (_, 0) => self.enter(State::Error),
            _ => {}
        }
    }

    /// Status of the application, and what stands in and on `<updatecheck>`.
    fn check(&mut self, version: &str) -> (&'static str, &'static str, String) {
        let refused = |why| (why, "error-internal", String::new());
        if matches!(self.state(), State::Downloading | State::Downloaded) {
            return refused("error-updateInProgressOnInstance");
        }
        if version == self.version {
            self.enter(State::Complete);
            return ("ok", "noupdate", String::new());
        }
        if let Some(why) = self.refusal {
            return refused(why);
        }
        self.enter(State::Granted);
        ("ok", "ok", self.offer.clone())
    }

    /// Events come first, then the ping, then the check.
    fn answer(&mut self, question: &Question) -> String {
        let mut events = String::new();
        for ask in &question.asks {
            if let Ask::Event(event) = ask {
                self.take(event);
                events.push_str(r#"<event status="ok"></event>"#);
            }
        }
        let (mut status, mut check, mut ping) = ("ok", String::new(), "");
        if question.asks.contains(&Ask::Ping) {
            ping = r#"<ping status="ok"></ping>"#;
        }
        if question.asks.contains(&Ask::UpdateCheck) {
            let (app, update, inside) = self.check(&question.app.version);
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
    let question = Question::parse(std::str::from_utf8(&request.body).unwrap()).unwrap();
    let body = group.lock().unwrap().answer(&question);
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
