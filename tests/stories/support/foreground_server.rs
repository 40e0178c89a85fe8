//! A server of somebody else's on loopback, in the foreground: started, waited for, killed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server and the processes that it starts; killed when dropped.
pub struct Listening {
    child: Child,
    place: SocketAddrV4,
}

impl Listening {
    /// Runs `command`, which writes to `log`; returns once it listens at `place`.
    ///
    /// # Panics
    /// If it ends, or never listens.
    pub fn start(mut command: Command, place: SocketAddrV4, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let (out, err) = (file.try_clone().unwrap(), file);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        // What it starts is killed with it.
        command.process_group(0);
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut server = Self { child, place };
        let said = || std::fs::read_to_string(log).unwrap();
        let listens = || format!("{command:?} listens: {}", said());
        until(listens, || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{command:?}: {ended:?}: {}", said());
            TcpStream::connect(place).is_ok()
        });
        server
    }

    /// Ends it as a crash would; returns once nobody listens there.
    pub fn kill(mut self) {
        self.end();
        until(
            || format!("{} is closed", self.place),
            || TcpStream::connect(self.place).is_err(),
        );
    }

    fn end(&mut self) {
        let group = Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns once `holds` does: for what another process does without any event that could be waited
/// for.
pub fn until(what: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {}", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listened on a moment ago, at a loopback address of this process's own: no
/// other test takes it before the server does.
pub fn free_place() -> SocketAddrV4 {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 64 | high, middle, low);
    let listener = TcpListener::bind((host, 0)).unwrap();
    SocketAddrV4::new(host, listener.local_addr().unwrap().port())
}
