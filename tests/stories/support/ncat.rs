//! The smallest update server in the field: `ncat`, a canned answer per connection, the request
//! unread.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use test_support::logging_server::Speaking;

pub struct Ncat {
    _process: Speaking,
    port: u16,
}

impl Ncat {
    /// Answers every connection with status 200 and `body`, its header lines ended by a bare line
    /// feed, and hangs up.
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
        let mut command = Command::new("ncat");
        command
            .args(["-v", "--listen", "--keep-open", "--sh-exec", &answer])
            .args(["127.0.0.1", &port.to_string()]);
        let (process, listening) = Speaking::start(&mut command, "Listening on");
        listening.map(|_| Self {
            _process: process,
            port,
        })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/update/", self.port)
    }
}
