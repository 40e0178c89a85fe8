//! Proxies as sites run them: Debian's `microsocks` and `tinyproxy`, on loopback.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running proxy; ends with the test.
pub struct Proxy {
    child: Child,
    url: String,
    directory: TempDir,
}

impl Proxy {
    /// SOCKS 5.
    pub fn socks() -> Self {
        let place = free_place();
        let mut command = Command::new("microsocks");
        let (host, port) = (place.ip().to_string(), place.port().to_string());
        command.args(["-i", &host, "-p", &port]);
        let url = format!("socks5h://{place}");
        Self::start(command, url, place, TempDir::new().unwrap())
    }

    /// HTTP, with `CONNECT`.
    pub fn http() -> Self {
        let (place, directory) = (free_place(), TempDir::new().unwrap());
        let config = directory.path().join("tinyproxy.conf");
        let (host, port) = (place.ip(), place.port());
        let text = format!("Port {port}\nListen {host}\nTimeout 60\nMaxClients 20\nLogLevel Connect\n");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config);
        Self::start(command, format!("http://{place}"), place, directory)
    }

    fn start(mut command: Command, url: String, place: SocketAddrV4, directory: TempDir) -> Self {
        let log = File::create(directory.path().join("log")).unwrap();
        let (out, err) = (log.try_clone().unwrap(), log);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let proxy = Self {
            child,
            url,
            directory,
        };
        let began = Instant::now();
        while TcpStream::connect(place).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", proxy.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        proxy
    }

    /// What goes into `ALL_PROXY`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listened on a moment ago, at a loopback address of this process's own: no other test takes it
/// before the proxy does.
fn free_place() -> SocketAddrV4 {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 64 | high, middle, low);
    let listener = TcpListener::bind((host, 0)).unwrap();
    SocketAddrV4::new(host, listener.local_addr().unwrap().port())
}
