//! Proxies as sites run them: Debian's `microsocks` and `tinyproxy`, on loopback.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
        let port = free_port();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        Self::start(
            command,
            format!("socks5h://127.0.0.1:{port}"),
            port,
            TempDir::new().unwrap(),
        )
    }

    /// HTTP, with `CONNECT`.
    pub fn http() -> Self {
        let (port, directory) = (free_port(), TempDir::new().unwrap());
        let config = directory.path().join("tinyproxy.conf");
        let text = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nLogLevel Connect\n");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(config);
        Self::start(command, format!("http://127.0.0.1:{port}"), port, directory)
    }

    fn start(mut command: Command, url: String, port: u16, directory: TempDir) -> Self {
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
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "{}", proxy.log());
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

/// One that nobody listens on, a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
