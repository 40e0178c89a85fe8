//! A logind that reboots nothing: it remembers that it was asked, and has the inhibitor locks and sessions that tests give it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use zbus::{Connection, OwnedObjectPath, fdo, interface};

use test_support::bus::PrivateBus;

const PATH: &str = "/org/freedesktop/login1";

type Inhibitor = (String, String, String, String, u32, u32);
type Session = (String, u32, String, String, OwnedObjectPath);

#[derive(Default)]
struct Kept {
    reboots: usize,
    inhibitors: Vec<Inhibitor>,
    /// Terminals by session.
    terminals: HashMap<String, String>,
}

pub struct FakeLogind {
    connection: Connection,
    kept: Arc<Mutex<Kept>>,
}

impl FakeLogind {
    /// Answers on `bus` in logind's name.
    pub async fn start(bus: &PrivateBus) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let connection = zbus::connection::Builder::address(bus.address())
            .serve_at(PATH, Manager(Arc::clone(&kept)))
            .name("org.freedesktop.login1")
            .build()
            .await
            .unwrap();
        Self { connection, kept }
    }

    /// How often it was asked to reboot, and did not refuse.
    pub fn reboots(&self) -> usize {
        self.kept.lock().unwrap().reboots
    }

    /// From now on somebody holds an inhibitor lock of this mode, or nobody does.
    pub fn inhibit(&self, mode: Option<&str>) {
        let lock = |mode: &str| {
            let texts = ["sleep:shutdown", "a backup", "half done", mode].map(str::to_owned);
            let [what, who, why, mode] = texts;
            (what, who, why, mode, 0, 1)
        };
        self.kept.lock().unwrap().inhibitors = mode.map(lock).into_iter().collect();
    }

    /// From now on somebody is logged in at this terminal.
    pub async fn log_in(&self, terminal: &str) {
        let path = format!("{PATH}/session/_1");
        self.kept
            .lock()
            .unwrap()
            .terminals
            .insert(path.clone(), terminal.to_owned());
        let session = TerminalSession(terminal.to_owned());
        self.connection.object_server().at(path, session).await.unwrap();
    }
}

struct Manager(Arc<Mutex<Kept>>);

#[interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    /// As systemd's: with this flag root is refused while a lock is held.
    fn reboot_with_flags(&self, flags: u64) -> fdo::Result<()> {
        let mut kept = self.0.lock().unwrap();
        let is_blocked = kept.inhibitors.iter().any(|lock| lock.3 == "block");
        if flags & 1 == 1 && is_blocked {
            let text = "Access denied to root due to active block inhibitor";
            return Err(fdo::Error::AccessDenied(text.to_owned()));
        }
        kept.reboots += 1;
        Ok(())
    }

    fn list_inhibitors(&self) -> Vec<Inhibitor> {
        self.0.lock().unwrap().inhibitors.clone()
    }

    fn list_sessions(&self) -> Vec<Session> {
        let kept = self.0.lock().unwrap();
        let session = |path: &String| {
            let path = OwnedObjectPath::try_from(path.clone()).unwrap();
            ("1".to_owned(), 0, "root".to_owned(), String::new(), path)
        };
        kept.terminals.keys().map(session).collect()
    }
}

struct TerminalSession(String);

#[interface(name = "org.freedesktop.login1.Session")]
impl TerminalSession {
    #[zbus(property, name = "TTY")]
    fn tty(&self) -> &str {
        &self.0
    }
}
