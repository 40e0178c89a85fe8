//! A real etcd with the API that locksmith speaks, on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::logging_server::Speaking;

/// An etcd of one member, empty at first; ends with the test.
pub struct Etcd {
    /// None while it is down.
    process: Option<Speaking>,
    address: SocketAddr,
    flags: &'static [&'static str],
    directory: TempDir,
}

/// A port that nobody listens at now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether this machine has one that still has locksmith's API: 3.6 hasn't. A test that needs it and
/// hasn't got it says so and shows nothing.
pub fn is_there() -> bool {
    let help = Command::new("etcd").arg("--help").output();
    let has_v2 = help.is_ok_and(|help| {
        let text = [help.stdout, help.stderr].concat();
        String::from_utf8_lossy(&text).contains("--enable-v2")
    });
    if !has_v2 {
        eprintln!("no etcd with --enable-v2 is there: this test shows nothing");
    }
    has_v2
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// etcd's index at that time, of all keys, where v2 tells it.
    pub index: Option<i64>,
    /// Null if it is no JSON.
    pub body: Value,
}

impl Etcd {
    /// Starts it with locksmith's API, if [there is one](is_there).
    pub fn start() -> Option<Self> {
        is_there().then(|| Self::launch(&["--enable-v2"]))
    }

    /// Starts it as it comes.
    ///
    /// # Errors
    /// If this machine has none.
    pub fn start_as_it_comes() -> std::io::Result<Self> {
        Command::new("etcd").arg("--version").output()?;
        Ok(Self::launch(&[]))
    }

    fn launch(flags: &'static [&'static str]) -> Self {
        let mut etcd = Self {
            process: None,
            // Its JSON gateway asks itself at the port that it was told.
            address: ([127, 0, 0, 1], free_port()).into(),
            flags,
            directory: TempDir::new().unwrap(),
        };
        etcd.come_back();
        etcd
    }

    /// Dies, as by a power cut.
    pub fn die(&mut self) {
        self.process = None;
    }

    /// Starts with what it had when it died, where it was.
    pub fn come_back(&mut self) {
        let mut command = Command::new("etcd");
        command
            .args(self.flags)
            .arg("--data-dir")
            .arg(self.directory.path());
        let any = "http://127.0.0.1:0";
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([flag, any]);
        }
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([flag, &self.url()]);
        }
        command.args(["--initial-cluster", &format!("default={any}")]);
        if cfg!(target_arch = "aarch64") {
            command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
        }
        // In 3.3 and 3.4 "serving insecure client requests on", in 3.5 "serving client traffic
        // insecurely".
        let (process, line) = Speaking::start(&mut command, "insecure");
        line.expect("etcd serves");
        self.process = Some(process);
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks its v3 API by the JSON gateway.
    pub fn ask_v3(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.exchange(request.as_bytes()).body
    }

    /// The holders of the reboot lock in its v3 API.
    pub fn holders_v3(&self) -> Vec<String> {
        let semaphore = self.semaphore_v3();
        let holders = semaphore["holders"].as_array().cloned().unwrap_or_default();
        holders
            .iter()
            .map(|holder| holder.as_str().unwrap().to_owned())
            .collect()
    }

    /// The reboot lock in its v3 API; null before anybody has made it.
    pub fn semaphore_v3(&self) -> Value {
        semaphore(&self.ask_v3("/v3/kv/range", &json!({"key": lock_key()})))
    }

    /// The reboot lock in its v3 API as every write has left it, the first one first.
    pub fn history_v3(&self) -> Vec<Value> {
        let found = self.ask_v3("/v3/kv/range", &json!({"key": lock_key()}));
        let last: u64 = found["header"]["revision"].as_str().unwrap().parse().unwrap();
        // The first revision is of the empty store.
        let states = (2..=last).map(|revision| {
            let question = json!({"key": lock_key(), "revision": revision.to_string()});
            semaphore(&self.ask_v3("/v3/kv/range", &question))
        });
        states.collect()
    }

    /// Sends a request as it is and reads its answer.
    pub fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        Answer::read(stream)
    }

    /// Asks about a key below `/v2/keys`, or sets it if there is a form.
    pub fn ask(&self, key_and_query: &str, form: Option<&str>) -> Answer {
        let (method, body) = form.map_or(("GET", ""), |form| ("PUT", form));
        let request = format!(
            "{method} /v2/keys{key_and_query} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.exchange(request.as_bytes())
    }
}

/// The lock's key, in base64.
fn lock_key() -> String {
    STANDARD.encode("/coreos.com/updateengine/rebootlock/semaphore")
}

/// The semaphore in an answer to `range`; null if there is none.
fn semaphore(answer: &Value) -> Value {
    let Some(value) = answer["kvs"][0]["value"].as_str() else {
        return Value::Null;
    };
    serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap()
}

impl Answer {
    /// Reads one HTTP message with a length.
    pub fn read(message: impl std::io::Read) -> Self {
        let mut message = BufReader::new(message);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            message.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            head.push(line);
        }
        let header = |name: &str| {
            let mut lines = head.iter().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().parse::<i64>().unwrap())
        };
        let length = header("content-length").unwrap_or(0);
        let mut body = vec![0; usize::try_from(length).unwrap()];
        message.read_exact(&mut body).unwrap();
        Self {
            status: head[0].split(' ').nth(1).unwrap().parse().unwrap(),
            index: header("x-etcd-index"),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }
}
