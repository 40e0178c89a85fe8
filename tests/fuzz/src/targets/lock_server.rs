//! Answers of the servers that keep the reboot lock: etcd's v2 and v3 APIs, `FleetLock`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use update_engine::reboot_lock::{Acquired, ManagerValues, Note, Semaphore, Strategy};

use super::scratch;
use crate::input::Input;
use crate::{Bug, Target};

pub(super) const TARGET: Target = Target {
    name: "lock-server",
    property: "A node counts as a holder only after the server took the write that makes it one; whatever the \
               server answers, an operation ends after at most 64 requests.",
    check,
};

/// This node, by its machine id.
const NODE: &str = "0123456789abcdef0123456789abcdef";

/// Answers in their order, the last one again and again.
type Script = Vec<(u16, Vec<u8>)>;

/// A request's body, and the place of its answer in the script.
type Request = (usize, Vec<u8>);

fn check(bytes: &[u8], bug: Bug) {
    let mut input = Input::new(bytes);
    let api = input.byte() % 3;
    let operation = input.byte() % 4;
    let fence = input.is_odd();
    let script: Script = (0..=input.below(6)).map(|_| answer(&mut input, api)).collect();
    let server = server();
    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
    let (strategy, text) = match api {
        0 | 1 => (
            Strategy::EtcdLock,
            format!(
                "LOCKSMITHD_ENDPOINT={}\nREBOOT_ETCD_API=v{}\n",
                server.url,
                api + 2
            ),
        ),
        _ => (Strategy::FleetLock, format!("FLEET_LOCK_URL={}\n", server.url)),
    };
    let host = scratch::host(&[
        ("/etc/flatcar/update.conf", Some(text.as_bytes())),
        ("/etc/machine-id", Some(NODE.as_bytes())),
    ]);
    let values = ManagerValues::read(&host).expect("settings");
    let lock = values.lock(&host, strategy).expect("a lock");
    server.begin(script.clone());
    let note = Note::default();
    let mut is_held = false;
    server.runtime.block_on(async {
        match operation {
            0 => is_held = matches!(lock.lock(&note).await, Ok(Acquired::Held)),
            1 => drop(lock.unlock(fence).await),
            2 => drop(lock.note(&note).await),
            _ => drop(lock.semaphore().await),
        }
    });
    let requests = server.end();
    assert!(requests.len() <= 64, "{} requests", requests.len());
    if bug.strikes(operation == 0 && api == 1 && requests.len() > 2) {
        is_held = true;
    }
    if is_held {
        written(api, &requests, &script);
    }
}

/// The last request was the one that makes this node a holder, and it was taken.
fn written(api: u8, requests: &[Request], script: &Script) {
    let (at, body) = requests.last().expect("a request");
    let (status, answer) = &script[*at];
    assert!(
        (200..300).contains(status),
        "held by status {status}: {requests:?} {script:?}"
    );
    let text = String::from_utf8_lossy(body).into_owned();
    let json = match api {
        0 => {
            let value = text.strip_prefix("value=").expect("a form").replace('+', " ");
            percent_encoding::percent_decode_str(&value).collect()
        }
        1 => {
            let answer: serde_json::Value = serde_json::from_slice(answer).expect("JSON");
            assert_eq!(answer["succeeded"], true, "held by a write that wasn't made");
            let request: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            let value = &request["success"][0]["request_put"]["value"];
            STANDARD.decode(value.as_str().expect("base64")).expect("base64")
        }
        _ => return,
    };
    let semaphore = Semaphore::read(&json).expect("a semaphore");
    assert!(semaphore.is_held_by(NODE));
}

/// One answer: bytes, or what such a server says.
fn answer(input: &mut Input<'_>, api: u8) -> (u16, Vec<u8>) {
    let status = *input.one_of(&[200, 200, 200, 201, 404, 412, 423, 400, 500, 204]);
    if input.byte() > 200 {
        return (status, input.list().to_vec());
    }
    let holders = [
        "[]",
        "null",
        "[\"b\"]",
        "[\"0123456789abcdef0123456789abcdef\"]",
        "[\"a\",\"b\"]",
    ];
    let semaphore = format!(
        "{{\"semaphore\":{},\"max\":{},\"holders\":{}}}",
        i64::from(input.byte() % 4) - 1,
        input.byte() % 4,
        input.one_of(&holders)
    );
    let body = match (api, input.byte() % 4) {
        (0, 0) => r#"{"errorCode":100,"message":"Key not found"}"#.to_owned(),
        (0, _) => {
            serde_json::json!({"node": {"value": semaphore, "modifiedIndex": input.short()}}).to_string()
        }
        (1, 0) => r#"{"header":{}}"#.to_owned(),
        (1, 1) => r#"{"header":{},"succeeded":true}"#.to_owned(),
        (1, _) => {
            let value = STANDARD.encode(&semaphore);
            let kvs = [serde_json::json!({"mod_revision": input.short().to_string(), "value": value})];
            serde_json::json!({"header": {}, "kvs": kvs, "succeeded": true}).to_string()
        }
        _ => serde_json::json!({"kind": input.text(), "value": input.text()}).to_string(),
    };
    (status, body.into_bytes())
}

/// A server whose answers are told.
struct Server {
    url: String,
    scripts: Sender<Script>,
    requests: Receiver<Request>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn begin(&mut self, script: Script) {
        while self.requests.try_recv().is_ok() {}
        self.scripts.send(script).expect("the server runs");
    }

    fn end(&mut self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

fn server() -> &'static Mutex<Server> {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (scripts, next) = channel();
        let (told, requests) = channel();
        thread::spawn(move || serve(&listener, &next, &told));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Mutex::new(Server {
            url,
            scripts,
            requests,
            runtime: runtime.expect("a runtime"),
        })
    })
}

fn serve(listener: &TcpListener, scripts: &Receiver<Script>, told: &Sender<Request>) {
    let (mut script, mut at) = (Script::new(), 0);
    for stream in listener.incoming().flatten() {
        // The latest: an operation may have asked nothing.
        if let Some(next) = scripts.try_iter().last() {
            (script, at) = (next, 0);
        }
        let Some((status, body)) = script.get(at) else {
            continue;
        };
        // A client that hangs up has its reasons.
        let _ = exchange(stream, (*status, body), (at, told));
        at = (at + 1).min(script.len() - 1);
    }
}

fn exchange(
    stream: TcpStream,
    (status, body): (u16, &[u8]),
    (at, told): (usize, &Sender<Request>),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut len) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().unwrap_or(0);
        }
    }
    let mut request = vec![0; len];
    reader.read_exact(&mut request)?;
    told.send((at, request)).map_err(std::io::Error::other)?;
    let mut answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n").into_bytes();
    // It has no content, by its number.
    if status == 204 {
        answer.extend(b"\r\n");
    } else {
        answer.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
        answer.extend(body);
    }
    reader.into_inner().write_all(&answer)
}
