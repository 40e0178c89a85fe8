//! A line between node and server: each request is delayed, answers come as fast as the line is, and
//! what passes of packages is counted.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;

/// What a line is like.
#[derive(Debug, Clone, Copy)]
pub struct LineKind {
    /// Before each request reaches the server.
    pub delay: Duration,
    /// Bytes in a second, of all answers together.
    pub speed: Option<f64>,
}

impl LineKind {
    pub const LOOPBACK: Self = Self {
        delay: Duration::ZERO,
        speed: None,
    };

    /// 50 Mbit/s, 40 ms.
    pub const MOBILE: Self = Self {
        delay: Duration::from_millis(40),
        speed: Some(50e6 / 8.0),
    };
}

/// What has passed, of downloads alone: with the heads of answers.
#[derive(Debug, Default)]
pub struct Passed {
    pub requests: AtomicU64,
    pub bytes: AtomicU64,
}

/// A line that is open until the process ends.
pub struct Line {
    address: SocketAddr,
    passed: Arc<Passed>,
}

impl Line {
    /// To the server at `address`.
    pub fn open(kind: LineKind, server: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Passed::default());
        let (counts, free_at) = (Arc::clone(&passed), Arc::new(Mutex::new(Instant::now())));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let connection = Connection {
                    kind,
                    passed: Arc::clone(&counts),
                    free_at: Arc::clone(&free_at),
                    is_download: Arc::default(),
                };
                thread::spawn(move || connection.join(&client, server));
            }
        });
        Ok(Self { address, passed })
    }

    /// The server's URL at this end.
    pub fn url(&self) -> String {
        format!("http://{}/v1/update/", self.address)
    }

    /// Requests and bytes so far.
    pub fn passed(&self) -> (u64, u64) {
        let Passed { requests, bytes } = self.passed.as_ref();
        (requests.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct Connection {
    kind: LineKind,
    passed: Arc<Passed>,
    /// When the line has brought all that was sent so far.
    free_at: Arc<Mutex<Instant>>,
    is_download: Arc<AtomicBool>,
}

impl Connection {
    /// Ends with either side; what an installer does about that is its own affair.
    fn join(self, client: &TcpStream, server: SocketAddr) {
        let Ok(server) = TcpStream::connect(server) else {
            return;
        };
        let (Ok(from_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let up = self.clone();
        let requests = thread::spawn(move || up.requests(from_client, to_server));
        self.answers(&server, client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        let _ = requests.join();
    }

    /// A client sends a request whole, and the next after the answer.
    fn requests(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if buffer.starts_with(b"GET ") {
                self.is_download.store(true, Ordering::Relaxed);
                self.passed.requests.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(self.kind.delay);
            if to.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    }

    fn answers(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            self.wait_for(len);
            if self.is_download.load(Ordering::Relaxed) {
                self.passed.bytes.fetch_add(len as u64, Ordering::Relaxed);
            }
            if to.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    }

    /// Until the line has brought so many bytes more.
    fn wait_for(&self, len: usize) {
        let Some(speed) = self.kind.speed else { return };
        #[allow(clippy::cast_precision_loss, reason = "some kilobytes")]
        let takes = Duration::from_secs_f64(len as f64 / speed);
        let arrived = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            *free_at = (*free_at).max(Instant::now()) + takes;
            *free_at
        };
        thread::sleep(arrived.saturating_duration_since(Instant::now()));
    }
}
