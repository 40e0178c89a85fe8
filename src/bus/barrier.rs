//! The barrier: resolves when every status published so far has been signalled.

use tokio::sync::{mpsc, oneshot};

/// Who wants to know, each by a channel to be answered.
pub(super) type Requests = mpsc::Receiver<oneshot::Sender<()>>;

/// Waits for what the engine has announced so far.
#[derive(Clone)]
pub(super) struct Barrier(mpsc::Sender<oneshot::Sender<()>>);

impl Barrier {
    /// A barrier, and the channel where its requests arrive.
    pub(super) fn new() -> (Self, Requests) {
        let (barrier, requests) = mpsc::channel(1);
        (Self(barrier), requests)
    }

    /// Returns once every status that was in the queue before this call has been signalled, or the
    /// broadcaster has ended.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            let _ = flushed.await;
        }
    }
}
