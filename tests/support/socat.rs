//! The smallest payload server in the field: `socat` with a shell behind it. It reads the request's first line
//! and sends the whole file, whatever range was asked for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

pub struct Socat {
    process: Child,
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
        let mut process = Command::new("socat")
            .args(["-d", "-d", "TCP4-LISTEN:0,bind=127.0.0.1,reuseaddr,fork"])
            .arg(format!("EXEC:sh {}", script.path().display()))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = said
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("listening on"))
            .expect("socat listens");
        // It speaks of every connection, and would stop if nobody listened.
        std::thread::spawn(move || said.for_each(drop));
        let port = listening.rsplit(':').next().unwrap().trim().parse().unwrap();
        Self {
            process,
            port,
            _script: script,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Socat {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
