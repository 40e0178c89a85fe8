//! Proxies as sites run them: Debian's `microsocks` and `tinyproxy`, on loopback.

use std::process::Command;

use tempfile::TempDir;

use super::foreground_server::{Listening, free_place};

/// A running proxy; ends with the test.
pub struct Proxy {
    _process: Listening,
    url: String,
    directory: TempDir,
}

impl Proxy {
    /// SOCKS 5.
    pub fn socks() -> Self {
        let (place, directory) = (free_place(), TempDir::new().unwrap());
        let mut command = Command::new("microsocks");
        let (host, port) = (place.ip().to_string(), place.port().to_string());
        command.args(["-i", &host, "-p", &port]);
        Self {
            _process: Listening::start(command, place, &directory.path().join("log")),
            url: format!("socks5h://{place}"),
            directory,
        }
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
        Self {
            _process: Listening::start(command, place, &directory.path().join("log")),
            url: format!("http://{place}"),
            directory,
        }
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
