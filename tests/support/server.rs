//! A real HTTP server whose URLs say how it misbehaves.
//!
//! `/full.payload` is served as it should be. In `/cut=1000;status=503;/full.payload` the first
//! part is a list with one entry per request, the last of which stays: the first request is cut off
//! after 1000 bytes, the second gets a 503, the others go well. The faults are listed in
//! `faults`.
//!
//! Plain threads and sockets, so that paused clocks and blocked runtimes of tests don't reach it.

mod answer;
mod faults;
mod gate;
mod request;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use faults::Faults;
use gate::Gate;
pub use request::Recorded;

/// Nothing in a test takes so long; without it, a bug would hang instead of failing.
const DEADLINE: Duration = Duration::from_secs(30);

/// A server on loopback with a thread for each connection; it ends when dropped.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, Vec<u8>>>,
    requests: Mutex<Vec<Recorded>>,
    arrived: Condvar,
    gate: Gate,
    closing: AtomicBool,
}

impl Server {
    /// Serves http at a free port.
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Serves https at a free port.
    pub fn start_tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::start_with("https", Some(config), (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Serves http at `address`.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::start_with("http", None, address)
    }

    fn start_with(scheme: &'static str, tls: Option<Arc<rustls::ServerConfig>>, at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || accept(&listener, scheme, tls.as_ref(), &theirs));
        Self {
            address,
            scheme,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Offers `content` as `/name`, and as `/faults/name`.
    pub fn serve(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.shared
            .files
            .lock()
            .unwrap()
            .insert(name.to_owned(), content.into());
    }

    /// The URL of a path, `full.payload` or `cut=1000/full.payload`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}/{path}", self.scheme, self.address)
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Blocks until `count` requests have arrived.
    pub fn wait_for_requests(&self, count: usize) -> Vec<Recorded> {
        let requests = self.shared.requests.lock().unwrap();
        let (requests, timeout) = self
            .shared
            .arrived
            .wait_timeout_while(requests, DEADLINE, |r| r.len() < count)
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "{} of {count} requests arrived",
            requests.len()
        );
        requests.clone()
    }

    /// Lets `pieces` more pieces of `gate=` bodies through.
    pub fn release(&self, pieces: u64) {
        self.shared.gate.release(pieces);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.gate.open();
        // Wakes the acceptor, which then sees that it is over.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let ended = acceptor.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the test server panicked"
            );
        }
    }
}

fn accept(
    listener: &TcpListener,
    scheme: &'static str,
    tls: Option<&Arc<rustls::ServerConfig>>,
    shared: &Arc<Shared>,
) {
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let (end, done) = (stream.try_clone().unwrap(), stream.try_clone().unwrap());
        let (tls, shared) = (tls.cloned(), Arc::clone(shared));
        let conversation = std::thread::spawn(move || {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // A client that goes away is none of the server's business.
            let _ = match tls {
                None => converse(stream, scheme, &shared),
                Some(config) => {
                    let session = rustls::ServerConnection::new(config).unwrap();
                    converse(rustls::StreamOwned::new(session, stream), scheme, &shared)
                }
            };
            // The one who accepts has the socket too: it isn't closed by being dropped here.
            let _ = done.shutdown(Shutdown::Both);
        });
        connections.push((end, conversation));
    }
    for (end, conversation) in connections {
        // Whoever reads may be the one that waits for us: what is left of a body goes nowhere.
        let _ = end.shutdown(Shutdown::Both);
        conversation.join().unwrap();
    }
}

/// One request, one answer, and the connection is closed.
fn converse(mut stream: impl Read + Write, scheme: &'static str, shared: &Shared) -> io::Result<()> {
    let Some(request) = Recorded::read(&mut stream)? else {
        return Ok(());
    };
    let (faults, name) = match request.path[1..].split_once('/') {
        Some((faults, name)) => (faults, name),
        None => ("", &request.path[1..]),
    };
    let earlier = {
        let mut requests = shared.requests.lock().unwrap();
        let earlier = requests.iter().filter(|r| r.path == request.path).count();
        requests.push(request.clone());
        shared.arrived.notify_all();
        earlier
    };
    let faults = Faults::of_request(faults, earlier);
    let name = name.split('?').next().unwrap();
    let content = shared.files.lock().unwrap().get(name).cloned();
    answer::Answer {
        request: &request,
        faults: &faults,
        name,
        scheme,
        content,
    }
    .send(&mut stream, &shared.gate)
}
