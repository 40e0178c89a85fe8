//! Output of a child: its last bytes.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Bytes kept, from the end of the output, where errors stand.
const KEPT: usize = 64 * 1024;

/// The end of a program's output on both its streams.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Output {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Output {
    /// The output's last bytes, 64 KiB at most.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bytes before them.
    #[cfg(test)]
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "[{} bytes before this]", self.dropped)?;
        }
        f.write_str(String::from_utf8_lossy(&self.bytes).trim_end())
    }
}

/// Reads a child's pipe while something else is waited for.
pub(super) struct Capture {
    pipe: Receiver,
    tail: Tail,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

impl Capture {
    pub(super) fn new(pipe: PipeReader) -> io::Result<Self> {
        Ok(Self {
            pipe: Receiver::from_owned_fd(OwnedFd::from(pipe))?,
            tail: Tail::default(),
            end: End::Open,
        })
    }

    /// Reads until `event`, and returns its result; the pipe's end doesn't end this.
    pub(super) async fn until<T>(&mut self, event: impl Future<Output = T>) -> T {
        tokio::pin!(event);
        let mut chunk = [0; 4096];
        loop {
            tokio::select! {
                result = &mut event => return result,
                read = self.pipe.read(&mut chunk), if self.end == End::Open => self.take(&chunk, read),
            }
        }
    }

    fn take(&mut self, chunk: &[u8], read: io::Result<usize>) {
        match read {
            Ok(0) => self.end = End::Closed,
            Ok(n) => self.tail.keep(&chunk[..n]),
            Err(error) => {
                tracing::warn!(%error, "cannot read a subprocess's output");
                self.end = End::Closed;
            }
        }
    }

    /// Takes what lies in the pipe and stops. Not until its end: a process left in the background
    /// may hold it open for ever.
    pub(super) fn finish(mut self) -> Output {
        if let Ok(pipe) = self.pipe.into_nonblocking_fd() {
            let mut chunk = [0; 4096];
            // Straight from the descriptor: the runtime may not have heard yet that there is
            // something.
            loop {
                match nix::unistd::read(&pipe, &mut chunk) {
                    Err(nix::errno::Errno::EINTR) => {}
                    Ok(0) | Err(_) => break,
                    Ok(n) => self.tail.keep(&chunk[..n]),
                }
            }
        }
        Output {
            bytes: self.tail.bytes.into(),
            dropped: self.tail.dropped,
        }
    }
}

#[derive(Default)]
struct Tail {
    bytes: VecDeque<u8>,
    dropped: u64,
}

impl Tail {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..excess);
        self.dropped += excess as u64;
    }
}
