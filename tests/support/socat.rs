//! The smallest payload server in the field: `socat` with a shell behind it. It reads the request's first line
//! and sends the whole file, whatever range was asked for.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;

use super::speaking::Speaking;

pub struct Socat {
    _process: Speaking,
    port: u16,
    _script: NamedTempFile,
}

impl Socat {
    /// Serves `file`, which may be called anything.
    pub fn serving(file: &Path) -> Self {
        let mut script = NamedTempFile::new().unwrap();
        write!(
            script,
            r#"read -r line; printf "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" "$(stat -c %s "{0}")"; cat "{0}""#,
            file.display()
        )
        .unwrap();
        let mut command = Command::new("socat");
        command
            .args(["-d", "-d", "TCP4-LISTEN:0,bind=127.0.0.1,reuseaddr,fork"])
            .arg(format!("EXEC:sh {}", script.path().display()));
        let (process, listening) = Speaking::start(&mut command, "listening on");
        let listening = listening.expect("socat listens");
        let port = listening.rsplit(':').next().unwrap().trim().parse().unwrap();
        Self {
            _process: process,
            port,
            _script: script,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}
