//! A `FleetLock` server that stands in for poseidon's, with its words, its rules and nothing that it drains.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::http_message::Message;

/// Requests below it are sent elsewhere: to the same paths without it.
const MOVED: &str = "/moved";

#[derive(Default)]
struct Kept {
    /// Holders by group.
    holders: HashMap<String, String>,
    requests: Vec<Message>,
}

/// The running server; nobody holds anything at first.
pub struct FleetLockServer {
    address: SocketAddr,
    scheme: &'static str,
    kept: Arc<Mutex<Kept>>,
}

impl FleetLockServer {
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Over TLS.
    pub fn start_secure(tls: Arc<ServerConfig>) -> Self {
        Self::start_with(Some(tls))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Arc::<Mutex<Kept>>::default();
        let server = Self {
            address,
            scheme: if tls.is_some() { "https" } else { "http" },
            kept: Arc::clone(&kept),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, tls, stream) = (Arc::clone(&kept), tls.clone(), stream.unwrap());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &kept),
                    Some(tls) => {
                        let session = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(session, stream), &kept);
                    }
                });
            }
        });
        server
    }

    /// Where it is, without a last slash.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Where it was: from there it sends to where it is.
    pub fn old_url(&self) -> String {
        format!("{}{MOVED}", self.url())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Message> {
        self.kept.lock().unwrap().requests.clone()
    }

    pub fn holder(&self, group: &str) -> Option<String> {
        self.kept.lock().unwrap().holders.get(group).cloned()
    }

    /// From now on this node holds the lock of `group`, or nobody does.
    pub fn set_holder(&self, group: &str, id: Option<&str>) {
        let holders = &mut self.kept.lock().unwrap().holders;
        match id {
            Some(id) => holders.insert(group.to_owned(), id.to_owned()),
            None => holders.remove(group),
        };
    }

    /// Sends a request as it is and reads its answer.
    pub fn exchange(&self, request: &[u8]) -> Message {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        Message::read(&mut BufReader::new(stream)).unwrap()
    }
}

fn serve(stream: impl Read + Write, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = Message::read(&mut reader) {
        let (status, header, body) = {
            let mut kept = kept.lock().unwrap();
            kept.requests.push(request.clone());
            answer(&mut kept.holders, &request)
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}");
        let writer = reader.get_mut();
        if writer.write_all(answer.as_bytes()).is_err() || writer.flush().is_err() {
            return;
        }
    }
}

type Reply = (&'static str, String, String);

fn granted(text: &str) -> Reply {
    let header = "Content-Type: text/plain; charset=utf-8".to_owned();
    ("200 OK", header, text.to_owned())
}

fn refused(status: &'static str, kind: &str, value: &str) -> Reply {
    let body = format!(r#"{{"kind":"{kind}","value":"{value}"}}"#);
    (status, "Content-Type: application/json".to_owned(), body + "\n")
}

fn answer(holders: &mut HashMap<String, String>, request: &Message) -> Reply {
    let path = request.subject();
    let moved = path.strip_prefix(MOVED).or_else(|| path.strip_prefix('/'));
    if let Some(to) = moved.filter(|to| to.starts_with('/')) {
        return ("301 Moved Permanently", format!("Location: {to}"), String::new());
    }
    if !matches!(path, "/v1/pre-reboot" | "/v1/steady-state") {
        let (_, header, _) = granted("");
        return ("404 Not Found", header, "404 page not found\n".to_owned());
    }
    if !request.first_line.starts_with("POST ") {
        let why = "required method POST";
        return refused("405 Method Not Allowed", "method_not_allowed", why);
    }
    if request.header("fleet-lock-protocol") != Some("true") {
        let why = "missing required header fleet-lock-protocol: true";
        return refused("400 Bad Request", "missing_header", why);
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or_else(|_| json!({}));
    let text = |name: &str| {
        body["client_params"][name]
            .as_str()
            .filter(|text| !text.is_empty())
    };
    let (Some(id), Some(group)) = (text("id"), text("group")) else {
        return refused("400 Bad Request", "decode_error", "error decoding message");
    };
    let locks = path == "/v1/pre-reboot";
    match holders.get(group) {
        Some(holder) if holder != id => {
            let what = if locks { "lock" } else { "unlock" };
            let why = format!("reboot lease {what} unavailable, held by {holder}");
            refused("423 Locked", "lock_held", &why)
        }
        Some(_) if locks => granted("retained reboot lease"),
        // The id of no node: there is none that it could uncordon.
        Some(_) if id.len() != 32 => refused(
            "500 Internal Server Error",
            "internal_error",
            "error uncordoning node",
        ),
        Some(_) => {
            holders.remove(group);
            granted(&format!("unlocked reboot lease for {id}"))
        }
        None if locks => {
            holders.insert(group.to_owned(), id.to_owned());
            granted("obtained reboot lease")
        }
        None => granted("reboot lease already unlocked"),
    }
}
