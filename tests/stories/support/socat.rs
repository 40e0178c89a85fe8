//! The smallest servers in the field: `socat` with a shell behind it.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::NamedTempFile;
use test_support::logging_server::Speaking;

pub struct Socat {
    _process: Speaking,
    port: u16,
    _script: NamedTempFile,
}

impl Socat {
    /// Answers every connection with status 200 and `body`, the header lines ended by a bare line
    /// feed and the request unread. What lies unread when it hangs up can cost the caller the
    /// answer.
    pub fn answering(body: &Path) -> Self {
        let mut script = NamedTempFile::new().unwrap();
        write!(
            script,
            r#"printf "HTTP/1.1 200 OK\ncontent-type: text/xml\ncontent-length: %s\n\n" "$(stat -c %s "{0}")"; cat "{0}""#,
            body.display()
        )
        .unwrap();
        Self::running(script, "SYSTEM")
    }

    /// Serves `file`, which may be called anything: reads the request's first line and sends the
    /// whole file, whatever range was asked for.
    pub fn serving(file: &Path) -> Self {
        let mut script = NamedTempFile::new().unwrap();
        write!(
            script,
            r#"read -r line; printf "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" "$(stat -c %s "{0}")"; cat "{0}""#,
            file.display()
        )
        .unwrap();
        Self::running(script, "EXEC")
    }

    /// Runs `script` for each connection, by socat's address `kind`.
    fn running(script: NamedTempFile, kind: &str) -> Self {
        let mut command = Command::new("socat");
        command
            .args(["-d", "-d", "TCP4-LISTEN:0,bind=127.0.0.1,reuseaddr,fork"])
            .arg(format!("{kind}:sh {}", script.path().display()));
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
