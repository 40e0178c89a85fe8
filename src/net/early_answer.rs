//! Connection to a peer that may answer before it has read the request, and hang up.
//!
//! ```text
//!  peer:  accept · write "HTTP/1.1 200 OK …" · close        our request: not read, or half of it
//!  HTTP library, by itself: "unexpected message", "broken pipe", "connection reset": the answer is lost
//!  here:  nothing is read before the request's first byte was written;
//!         once the peer is gone, writing goes on into nothing;
//!         a reset after the first byte of the answer is its end; the caller, who knows its length, checks that
//! ```

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct EarlyAnswer<T> {
    inner: T,
    /// The first byte of a request was written.
    asked: bool,
    /// The first byte of an answer was read.
    answered: bool,
    /// The peer reads no more; its earlier bytes can still be read.
    write_closed: bool,
    /// Reader that waits for the first byte of the request.
    reader: Option<Waker>,
}

impl<T> EarlyAnswer<T> {
    pub(super) const fn new(inner: T) -> Self {
        Self {
            inner,
            asked: false,
            answered: false,
            write_closed: false,
            reader: None,
        }
    }

    /// Turns an error of writing to a peer that has gone into success: nothing more is sent to it.
    fn written<R>(&mut self, result: Poll<io::Result<R>>, done: R) -> Poll<io::Result<R>> {
        match result {
            Poll::Ready(Err(error)) if is_hang_up(&error) => {
                self.write_closed = true;
                Poll::Ready(Ok(done))
            }
            result => result,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for EarlyAnswer<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.inner).poll_read(context, buffer)) {
            Err(error) if self.answered && is_hang_up(&error) => Poll::Ready(Ok(())),
            result => {
                self.answered |= buffer.filled().len() > before;
                Poll::Ready(result)
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for EarlyAnswer<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.write_closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if written.is_ready() {
            self.asked = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        self.written(written, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_closed {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.written(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.write_closed {
            return Poll::Ready(Ok(()));
        }
        let closed = Pin::new(&mut self.inner).poll_shutdown(context);
        self.written(closed, ())
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}
