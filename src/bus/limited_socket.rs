//! Socket of a connection without a bus, with a limit for the length of a message.
//!
//! The library sets memory aside for a message as long as its header claims, up to the protocol's
//! 128 MiB, before a byte of it has come. On a bus the whole message has come by then, and was short
//! enough for the bus. Here it is the other end that claims it: a header that claims more than
//! [`LONGEST`] ends the connection. File descriptors are not taken.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::Message;
use zbus::connection::Socket;
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;

/// Longest message in bytes, header and all. What the dispatcher takes is far shorter; what is longer
/// than that, and no longer than this, is answered with an error.
const LONGEST: u64 = 1 << 20;

/// Bytes that tell how long the whole message is.
const HEAD: usize = 16;

/// A connected stream.
#[derive(Debug)]
pub(super) struct LimitedSocket {
    stream: UnixStream,
    /// The user at its other end.
    user: u32,
}

impl LimitedSocket {
    pub(super) const fn new(stream: UnixStream, user: u32) -> Self {
        Self { stream, user }
    }
}

impl Socket for LimitedSocket {
    type ReadHalf = LimitedReader;
    type WriteHalf = StreamWriter;

    fn split(self) -> Split<LimitedReader, StreamWriter> {
        let (read, write) = self.stream.into_split();
        let reader = LimitedReader {
            stream: StreamReader(read),
            user: self.user,
        };
        Split::new(reader, StreamWriter(write))
    }
}

/// Reads messages that are short enough.
#[derive(Debug)]
pub(super) struct LimitedReader {
    stream: StreamReader,
    user: u32,
}

#[async_trait]
impl ReadHalf for LimitedReader {
    async fn receive_message(
        &mut self,
        number: u64,
        received: &mut Vec<u8>,
        fds: &mut Vec<OwnedFd>,
    ) -> zbus::Result<Message> {
        while received.len() < HEAD {
            let mut rest = [0; HEAD];
            let (read, _) = self.recvmsg(&mut rest[received.len()..]).await?;
            if read == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
            }
            received.extend_from_slice(&rest[received.len()..][..read]);
        }
        if claimed_len(received).is_some_and(|len| len > LONGEST) {
            return Err(zbus::Error::ExcessData);
        }
        self.stream.receive_message(number, received, fds).await
    }

    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.stream.recvmsg(buffer).await
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        Ok(ConnectionCredentials::default().set_unix_user_id(self.user))
    }
}

/// Reads bytes; messages of any length as the library does.
#[derive(Debug)]
struct StreamReader(OwnedReadHalf);

#[async_trait]
impl ReadHalf for StreamReader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        Ok((self.0.read(buffer).await?, Vec::new()))
    }
}

/// The half that writes, without file descriptors.
#[derive(Debug)]
pub(super) struct StreamWriter(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for StreamWriter {
    /// No message of ours has file descriptors: neither half says that it can pass them.
    async fn sendmsg(&mut self, buffer: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Length of the message that begins with `head`, by what it claims; none if that is no message's.
fn claimed_len(head: &[u8]) -> Option<u64> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?.try_into().ok()?;
        match head.first()? {
            b'l' => Some(u64::from(u32::from_le_bytes(bytes))),
            b'B' => Some(u64::from(u32::from_be_bytes(bytes))),
            _ => None,
        }
    };
    let (body, fields) = (number(4)?, number(12)?);
    // 16 bytes and four gigabytes twice: no overflow.
    Some(HEAD as u64 + fields.next_multiple_of(8) + body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_told_in_either_byte_order_and_not_without_one() {
        let mut head = [b'l', 1, 0, 1, 5, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0];
        assert_eq!(claimed_len(&head), Some(16 + 16 + 5));
        head[0] = b'B';
        assert_eq!(claimed_len(&head), Some(16 + (9 << 24) + (5 << 24)));
        head[0] = b'x';
        assert_eq!(claimed_len(&head), None);
        assert_eq!(claimed_len(&head[..15]), None);
        let longest = [b'l', 1, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 255, 255, 255, 255];
        assert_eq!(claimed_len(&longest), Some(16 + (1 << 32) + u64::from(u32::MAX)));
    }
}
