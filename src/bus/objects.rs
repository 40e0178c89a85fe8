//! What every connection is served: the same objects, whoever is at the other end.

use tokio::sync::{mpsc, watch};
use zbus::connection::Builder;

use super::announcer::Flusher;
use super::engine1::Engine1;
use super::evidence::Evidence1;
use super::manager::Manager;
use super::{Account, Command, ENGINE_PATH, EVIDENCE_PATH, PATH};

/// What the objects talk to.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) flusher: Flusher,
    pub(super) account: watch::Receiver<Account>,
}

impl Objects {
    /// The builder of a connection that serves them.
    pub(super) fn serve_on(self, builder: Builder<'_>) -> Builder<'_> {
        let Self {
            commands,
            flusher,
            account,
        } = self;
        let engine = Engine1 {
            account: account.clone(),
        };
        builder
            .serve_at(PATH, Manager { commands, flusher })
            .serve_at(ENGINE_PATH, engine)
            .serve_at(EVIDENCE_PATH, Evidence1 { account })
    }
}
