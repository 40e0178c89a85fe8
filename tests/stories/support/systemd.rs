//! A systemd that only knows units: whether they are active, since when, and which it was told to
//! start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use zbus::{Connection, ObjectServer, OwnedObjectPath, fdo, interface};

use test_support::bus::PrivateBus;

const PATH: &str = "/org/freedesktop/systemd1";

/// The states of units by name; one that is missing is not found.
type States = Arc<Mutex<HashMap<String, String>>>;

pub struct FakeSystemd {
    _connection: Connection,
    states: States,
}

impl FakeSystemd {
    /// Answers on `bus` in systemd's name.
    pub async fn start(bus: &PrivateBus) -> Self {
        let states = States::default();
        let manager = Manager(Arc::clone(&states));
        let connection = zbus::connection::Builder::address(bus.address())
            .serve_at(PATH, manager)
            .name("org.freedesktop.systemd1")
            .build()
            .await
            .unwrap();
        Self {
            _connection: connection,
            states,
        }
    }

    /// What the unit is.
    pub fn state(&self, unit: &str) -> Option<String> {
        self.states.lock().unwrap().get(unit).cloned()
    }

    /// From now on the unit is `active`, `failed` ….
    pub fn set(&self, unit: &str, state: &str) {
        self.states.lock().unwrap().insert(unit.into(), state.into());
    }
}

struct Manager(States);

/// What a unit is after it was told to start: the job's mode.
fn started(mode: &str) -> String {
    format!("started, {mode}")
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn start_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
        self.0.lock().unwrap().insert(name.to_owned(), started(mode));
        OwnedObjectPath::try_from(format!("{PATH}/job/1")).unwrap()
    }

    async fn load_unit(
        &self,
        name: &str,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<OwnedObjectPath> {
        let digits: Vec<String> = name.bytes().map(|byte| format!("_{byte:02x}")).collect();
        let path = OwnedObjectPath::try_from(format!("{PATH}/unit/{}", digits.concat())).unwrap();
        let unit = Unit(name.to_owned(), Arc::clone(&self.0));
        server.at(&path, unit).await?;
        Ok(path)
    }
}

struct Unit(String, States);

impl Unit {
    fn state(&self) -> Option<String> {
        self.1.lock().unwrap().get(&self.0).cloned()
    }
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        if self.state().is_some() {
            "loaded"
        } else {
            "not-found"
        }
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        self.state().unwrap_or_else(|| "inactive".to_owned())
    }

    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> u64 {
        u64::from(self.state().is_some())
    }
}
