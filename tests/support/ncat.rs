//! The smallest update server in the field: `ncat`, a canned answer per connection, the request unread.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Ncat {
    process: Child,
    port: u16,
}

impl Ncat {
    /// Answers every connection with status 200 and `body`, its header lines ended by a bare line feed,
    /// and hangs up.
    pub fn answering(body: &Path) -> Self {
        // Between the look for a free port and its use somebody else may take it.
        let found = (0..10).find_map(|_| Self::start(body));
        found.expect("ncat finds no port to listen on")
    }

    fn start(body: &Path) -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let answer = format!(
            "printf 'HTTP/1.1 200 OK\\nServer: ncat\\nContent-Type: text/xml\\n\\n'; cat '{}'",
            body.display()
        );
        let mut process = Command::new("ncat")
            .args(["-v", "--listen", "--keep-open", "--sh-exec", &answer])
            .args(["127.0.0.1", &port.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = said
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("Listening on"));
        // It speaks of every connection, and would stop if nobody listened.
        std::thread::spawn(move || said.for_each(drop));
        let server = Self { process, port };
        listening.then_some(server)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/update/", self.port)
    }
}

impl Drop for Ncat {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
