//! A systemd that only knows units: their states and files, and which it was told to start.
#![allow(
    clippy::unused_self,
    clippy::unnecessary_literal_bound,
    reason = "methods and properties on the bus belong to an object"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectServer, OwnedObjectPath, fdo, interface};

use test_support::bus::PrivateBus;

const PATH: &str = "/org/freedesktop/systemd1";

/// One unit, as systemd tells of it.
#[derive(Clone)]
pub struct FakeUnit {
    pub load: &'static str,
    pub active: String,
    pub sub: &'static str,
    pub enablement: &'static str,
    pub fragment: String,
    pub program: String,
    /// Exit code of the main process.
    pub exit_code: i32,
    pub restarts: u32,
}

impl FakeUnit {
    /// A unit that has been active since the boot, from the file `fragment`.
    pub fn active(fragment: &str) -> Self {
        Self {
            load: "loaded",
            active: "active".to_owned(),
            sub: "running",
            enablement: "enabled",
            fragment: fragment.to_owned(),
            program: String::new(),
            exit_code: 0,
            restarts: 0,
        }
    }

    /// One that isn't there.
    pub fn not_found() -> Self {
        Self {
            load: "not-found",
            active: "inactive".to_owned(),
            sub: "dead",
            enablement: "",
            ..Self::active("")
        }
    }
}

#[derive(Default)]
struct World {
    units: BTreeMap<String, FakeUnit>,
    hangs: bool,
}

/// The units by name; one that is missing is not found.
type Shared = Arc<Mutex<World>>;

pub struct FakeSystemd {
    connection: Connection,
    world: Shared,
}

impl FakeSystemd {
    /// Answers on `bus` in systemd's name.
    pub async fn start(bus: &PrivateBus) -> Self {
        let world = Shared::default();
        let manager = Manager(Arc::clone(&world));
        let connection = zbus::connection::Builder::address(bus.address())
            .serve_at(PATH, manager)
            .name("org.freedesktop.systemd1")
            .build()
            .await
            .unwrap();
        Self { connection, world }
    }

    /// What the unit is.
    pub fn state(&self, unit: &str) -> Option<String> {
        let world = self.world.lock().unwrap();
        world.units.get(unit).map(|unit| unit.active.clone())
    }

    /// From now on the unit is `active`, `failed` ….
    pub fn set(&self, unit: &str, state: &str) {
        let unit_of = FakeUnit {
            active: state.to_owned(),
            ..FakeUnit::active("")
        };
        self.put(unit, unit_of);
    }

    /// From now on the unit is this.
    pub fn put(&self, name: &str, unit: FakeUnit) {
        self.world.lock().unwrap().units.insert(name.to_owned(), unit);
    }

    /// From now on nothing about units is answered.
    pub fn hang(&self) {
        self.world.lock().unwrap().hangs = true;
    }

    /// Says that units were read anew.
    pub async fn reload(&self) {
        let emitter = SignalEmitter::new(&self.connection, PATH).unwrap();
        for active in [true, false] {
            Manager::reloading(&emitter, active).await.unwrap();
        }
    }
}

struct Manager(Shared);

/// What a unit is after it was told to start: the job's mode.
fn started(mode: &str) -> FakeUnit {
    FakeUnit {
        active: format!("started, {mode}"),
        ..FakeUnit::active("")
    }
}

fn path_of(name: &str) -> OwnedObjectPath {
    let digits: Vec<String> = name.bytes().map(|byte| format!("_{byte:02x}")).collect();
    OwnedObjectPath::try_from(format!("{PATH}/unit/{}", digits.concat())).unwrap()
}

impl Manager {
    async fn serve(&self, name: &str, server: &ObjectServer) -> fdo::Result<OwnedObjectPath> {
        let path = path_of(name);
        server
            .at(&path, Unit(name.to_owned(), Arc::clone(&self.0)))
            .await?;
        server
            .at(&path, Service(name.to_owned(), Arc::clone(&self.0)))
            .await?;
        Ok(path)
    }
}

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {}

    fn start_unit(&self, name: &str, mode: &str) -> OwnedObjectPath {
        self.0
            .lock()
            .unwrap()
            .units
            .insert(name.to_owned(), started(mode));
        OwnedObjectPath::try_from(format!("{PATH}/job/1")).unwrap()
    }

    async fn load_unit(
        &self,
        name: &str,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> fdo::Result<OwnedObjectPath> {
        self.serve(name, server).await
    }

    async fn list_units(&self, #[zbus(object_server)] server: &ObjectServer) -> fdo::Result<Vec<Row>> {
        if self.0.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        let units = self.0.lock().unwrap().units.clone();
        let mut rows = Vec::new();
        for (name, unit) in units.into_iter().filter(|(_, unit)| unit.load == "loaded") {
            let path = self.serve(&name, server).await?;
            let none = OwnedObjectPath::try_from("/").unwrap();
            let states = (unit.load.to_owned(), unit.active, unit.sub.to_owned());
            let (load, active, sub) = states;
            let empty = String::new;
            rows.push((name, empty(), load, active, sub, empty(), path, 0, empty(), none));
        }
        Ok(rows)
    }

    #[zbus(property)]
    fn system_state(&self) -> &str {
        "running"
    }

    #[zbus(signal)]
    async fn reloading(emitter: &SignalEmitter<'_>, active: bool) -> zbus::Result<()>;
}

fn find(name: &str, world: &Shared) -> FakeUnit {
    let world = world.lock().unwrap();
    world.units.get(name).cloned().unwrap_or_else(FakeUnit::not_found)
}

struct Unit(String, Shared);

impl Unit {
    fn facts(&self) -> FakeUnit {
        find(&self.0, &self.1)
    }
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn load_state(&self) -> &str {
        self.facts().load
    }

    #[zbus(property)]
    fn active_state(&self) -> String {
        self.facts().active
    }

    #[zbus(property)]
    fn sub_state(&self) -> &str {
        self.facts().sub
    }

    #[zbus(property)]
    fn unit_file_state(&self) -> &str {
        self.facts().enablement
    }

    #[zbus(property)]
    fn fragment_path(&self) -> String {
        self.facts().fragment
    }

    #[zbus(property)]
    fn drop_in_paths(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn transient(&self) -> bool {
        false
    }

    /// There is one while the unit is being started.
    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        let is_started = self.facts().active.starts_with("started");
        let path = OwnedObjectPath::try_from("/").unwrap();
        (u32::from(is_started), path)
    }

    #[zbus(property)]
    fn active_enter_timestamp_monotonic(&self) -> u64 {
        u64::from(self.facts().load == "loaded")
    }
}

struct Service(String, Shared);

impl Service {
    fn facts(&self) -> FakeUnit {
        find(&self.0, &self.1)
    }
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        self.facts().restarts
    }

    #[zbus(property)]
    fn result(&self) -> &str {
        if self.facts().exit_code == 0 {
            "success"
        } else {
            "exit-code"
        }
    }

    #[zbus(property)]
    fn exec_main_code(&self) -> i32 {
        1
    }

    #[zbus(property)]
    fn exec_main_status(&self) -> i32 {
        self.facts().exit_code
    }

    #[zbus(property)]
    fn exec_start(&self) -> Vec<(String, Vec<String>, bool)> {
        vec![(self.facts().program, Vec::new(), false)]
    }
}
