//! Whole HTTP messages, as recordings have them, and a server that says what one had said.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A whole HTTP message with a length, as on the wire but for the case of its headers' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub first_line: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Message {
    /// Reads one; none where the connection ends.
    pub fn read(from: &mut BufReader<impl Read>) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            from.read_line(&mut line).ok()?;
            line.strip_suffix("\r\n").map(str::to_owned)
        };
        let first_line = line()?;
        let mut headers = HashMap::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or("0", String::as_str);
        let mut body = vec![0; length.parse().unwrap()];
        from.read_exact(&mut body).ok()?;
        Some(Self {
            first_line,
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A request's path, an answer's status.
    pub fn subject(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap()
    }
}

/// A server that gives the answers that it was given, one after the other, whatever it is asked.
pub struct ReplayServer {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Vec<u8>>,
    requests: Vec<Message>,
}

impl ReplayServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let server = Self {
            address,
            script: Arc::clone(&script),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                // One that says nothing was meant for nobody.
                let Some(request) = Message::read(&mut reader) else {
                    continue;
                };
                let answer = {
                    let mut script = script.lock().unwrap();
                    script.requests.push(request);
                    script.answers.pop_front().unwrap_or_default()
                };
                let _ = reader.get_mut().write_all(&answer);
            }
        });
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with these next.
    pub fn answer_with(&self, answers: impl IntoIterator<Item = Vec<u8>>) {
        self.script.lock().unwrap().answers = answers.into_iter().collect();
    }

    /// The requests since this was last asked.
    pub fn take_requests(&self) -> Vec<Message> {
        std::mem::take(&mut self.script.lock().unwrap().requests)
    }
}
