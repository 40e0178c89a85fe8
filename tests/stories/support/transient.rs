//! A systemd that runs transient services: a stand-in on a real bus, which starts real processes.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, fdo, interface};

use test_support::bus::PrivateBus;

const PATH: &str = "/org/freedesktop/systemd1";

/// A service that was started.
#[derive(Default, Clone)]
struct Service {
    /// Leads a process group.
    process: Option<Pid>,
    ended: Option<(i32, i32)>,
    runtime_max: u64,
}

#[derive(Default)]
struct Units {
    services: HashMap<String, Service>,
    /// What was asked, and of which unit.
    calls: Vec<(&'static str, String)>,
    /// In whose namespaces and below whose root services run.
    daemon: u32,
}

/// Ends its processes when dropped.
pub struct Transient {
    connection: Connection,
    units: Arc<Mutex<Units>>,
}

impl Transient {
    /// Answers on `bus` in systemd's name.
    pub async fn start(bus: &PrivateBus) -> Self {
        let units = Arc::<Mutex<Units>>::default();
        let connection = zbus::connection::Builder::address(bus.address())
            .serve_at(PATH, Manager(Arc::clone(&units)))
            .name("org.freedesktop.systemd1")
            .build()
            .await
            .unwrap();
        Self { connection, units }
    }

    /// The machine that services run on is the one of this process.
    pub fn runs_on_the_machine_of(&self, daemon: u32) {
        self.units.lock().unwrap().daemon = daemon;
    }

    /// What was asked of the unit, in order; signals with their number.
    pub fn asked_of(&self, unit: &str) -> Vec<&'static str> {
        let units = self.units.lock().unwrap();
        let calls = units.calls.iter().filter(|(_, name)| name == unit);
        calls.map(|(call, _)| *call).collect()
    }

    /// Code and status of its end, in systemd's numbers.
    pub fn end_of(&self, unit: &str) -> Option<(i32, i32)> {
        self.units.lock().unwrap().services.get(unit)?.ended
    }

    /// After how many microseconds systemd itself would end it.
    pub fn runtime_max(&self, unit: &str) -> u64 {
        self.units.lock().unwrap().services[unit].runtime_max
    }
}

impl Drop for Transient {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        tokio::spawn(async move { connection.close().await });
        for service in self.units.lock().unwrap().services.values() {
            if let (Some(process), None) = (service.process, service.ended) {
                let _ = killpg(process, Signal::SIGKILL);
            }
        }
    }
}

struct Manager(Arc<Mutex<Units>>);

fn unit_path(name: &str) -> OwnedObjectPath {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("_{byte:02x}"),
    };
    let name: String = name.bytes().map(escape).collect();
    OwnedObjectPath::try_from(format!("{PATH}/unit/{name}")).unwrap()
}

fn job() -> OwnedObjectPath {
    OwnedObjectPath::try_from(format!("{PATH}/job/1")).unwrap()
}

fn no_such_unit(name: &str) -> fdo::Error {
    fdo::Error::Failed(format!("Unit {name} not loaded."))
}

impl Manager {
    fn note(&self, call: &'static str, name: &str) {
        self.0.lock().unwrap().calls.push((call, name.to_owned()));
    }

    fn process(&self, name: &str) -> fdo::Result<Pid> {
        let units = self.0.lock().unwrap();
        let running = units.services.get(name).filter(|service| service.ended.is_none());
        running
            .and_then(|service| service.process)
            .ok_or_else(|| no_such_unit(name))
    }
}

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn subscribe(&self) {
        self.note("subscribe", "");
    }

    async fn start_transient_unit(
        &self,
        name: String,
        mode: String,
        properties: Vec<(String, OwnedVariant)>,
        auxiliary: Vec<(String, Vec<(String, OwnedVariant)>)>,
        #[zbus(connection)] bus: &Connection,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!((mode.as_str(), auxiliary.len()), ("fail", 0));
        self.note("start", &name);
        if self.process(&name).is_ok() {
            return Err(fdo::Error::FileExists(format!("Unit {name} was already loaded.")));
        }
        let properties: HashMap<String, OwnedVariant> = properties.into_iter().collect();
        let child = spawn(&properties, self.0.lock().unwrap().daemon);
        let service = Service {
            process: Some(Pid::from_raw(child.id().unwrap().try_into().unwrap())),
            ended: None,
            runtime_max: u64::try_from(properties["RuntimeMaxUSec"].clone()).unwrap(),
        };
        self.0.lock().unwrap().services.insert(name.clone(), service);
        let path = unit_path(&name);
        let server = bus.object_server();
        server.at(&path, Unit(name.clone(), Arc::clone(&self.0))).await?;
        server
            .at(&path, ServiceOf(name.clone(), Arc::clone(&self.0)))
            .await?;
        tokio::spawn(await_end(child, name, Arc::clone(&self.0), bus.clone()));
        Ok(job())
    }

    fn stop_unit(&self, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        let process = self.process(name)?;
        self.note("stop", name);
        let _ = killpg(process, Signal::SIGTERM);
        Ok(job())
    }

    fn reset_failed_unit(&self, name: &str) -> fdo::Result<()> {
        let units = self.0.lock().unwrap();
        units
            .services
            .get(name)
            .map(drop)
            .ok_or_else(|| no_such_unit(name))
    }

    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> fdo::Result<()> {
        assert_eq!(whom, "all");
        let process = self.process(name)?;
        let signal = Signal::try_from(signal).unwrap();
        self.note(signal.as_str(), name);
        let _ = killpg(process, signal);
        Ok(())
    }
}

fn words(list: &OwnedVariant) -> Vec<String> {
    Vec::<String>::try_from(list.clone()).unwrap()
}

/// An empty `/tmp`, as systemd gives it to a service; then the program. Of what the machine's own
/// `/tmp` holds only the program's directory stays: on a node programs lie elsewhere, in a test
/// they lie where the project was cloned.
const PRIVATE_TMP: &str = r#"set -e; cd /; exec {programs}<"${0%/*}"; mount -t tmpfs tmpfs /tmp
    if ! [ -e "$0" ]; then
        mkdir -p "${0%/*}"; mount --no-canonicalize --bind "/proc/self/fd/$programs" "${0%/*}"
    fi
    exec {programs}<&-; exec -a "$1" "$0" "${@:2}""#;

/// As systemd would: its own `/tmp`, the streams and the environment it was told, no others.
fn spawn(properties: &HashMap<String, OwnedVariant>, daemon: u32) -> Child {
    let is = |name: &str, value: &str| assert_eq!(*properties[name], Variant::from(value), "{name}");
    is("Type", "exec");
    is("StandardInput", "null");
    is("CollectMode", "inactive-or-failed");
    assert_eq!(*properties["PrivateTmp"], Variant::from(true));
    let commands = properties["ExecStart"].clone();
    let commands = Vec::<(String, Vec<String>, bool)>::try_from(commands).unwrap();
    let [(program, arguments, false)] = commands.as_slice() else {
        panic!("a failure would be ignored")
    };
    let stream = |name: &str| match &*properties[name] {
        Variant::Fd(fd) => Stdio::from(OwnedFd::try_from(fd.try_clone().unwrap()).unwrap()),
        other => panic!("{name}: {other:?}"),
    };
    let environment = words(&properties["Environment"]);
    let environment = environment.iter().map(|pair| pair.split_once('=').unwrap());
    Command::new("nsenter")
        .args(["--mount", "--root", "--wd=/", "--target", &daemon.to_string()])
        .args(["unshare", "--mount", "bash", "-c"])
        .arg(PRIVATE_TMP)
        .arg(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(stream("StandardOutputFileDescriptor"))
        .stderr(stream("StandardErrorFileDescriptor"))
        .process_group(0)
        .spawn()
        .unwrap()
}

async fn await_end(mut child: Child, name: String, units: Arc<Mutex<Units>>, bus: Connection) {
    use std::os::unix::process::ExitStatusExt as _;
    let status: ExitStatus = child.wait().await.unwrap();
    // `CLD_EXITED` and `CLD_KILLED`.
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => (1, code),
        (None, signal) => (2, signal.unwrap()),
    };
    units.lock().unwrap().services.get_mut(&name).unwrap().ended = Some(ended);
    let unit = "org.freedesktop.systemd1.Unit";
    let changed = (unit, HashMap::<&str, Variant<'_>>::new(), vec!["ActiveState"]);
    let properties = "org.freedesktop.DBus.Properties";
    // The bus may be gone with its test.
    let _ = bus
        .emit_signal(
            None::<&str>,
            unit_path(&name),
            properties,
            "PropertiesChanged",
            &changed,
        )
        .await;
}

struct Unit(String, Arc<Mutex<Units>>);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Unit {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        match self.1.lock().unwrap().services[&self.0].ended {
            None => "active",
            Some((1, 0)) => "inactive",
            Some(_) => "failed",
        }
    }
}

struct ServiceOf(String, Arc<Mutex<Units>>);

impl ServiceOf {
    fn ended(&self) -> Option<(i32, i32)> {
        self.1.lock().unwrap().services[&self.0].ended
    }
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl ServiceOf {
    #[zbus(property, name = "ExecMainCode")]
    fn exec_main_code(&self) -> i32 {
        self.ended().unwrap_or_default().0
    }

    #[zbus(property, name = "ExecMainStatus")]
    fn exec_main_status(&self) -> i32 {
        self.ended().unwrap_or_default().1
    }

    #[zbus(property, name = "ExecMainExitTimestampMonotonic")]
    fn exec_main_exit_timestamp_monotonic(&self) -> u64 {
        self.ended().is_some().into()
    }
}
