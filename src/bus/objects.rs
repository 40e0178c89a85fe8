//! What every connection is served: the same objects, whoever is at the other end.

use tokio::sync::watch;
use zbus::connection::Builder;

use super::desk::Desk;
use super::engine1::Engine1;
use super::evidence::Evidence1;
use super::manager::Manager;
use super::{Account, ENGINE_PATH, EVIDENCE_PATH, PATH};

/// What the objects talk to.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) desk: Desk,
    pub(super) account: watch::Receiver<Account>,
}

impl Objects {
    /// The builder of a connection that serves them.
    pub(super) fn serve_on(self, builder: Builder<'_>) -> Builder<'_> {
        let Self { desk, account } = self;
        let engine = Engine1 {
            desk: desk.clone(),
            account: account.clone(),
        };
        builder
            .serve_at(PATH, Manager(desk))
            .serve_at(ENGINE_PATH, engine)
            .serve_at(EVIDENCE_PATH, Evidence1 { account })
    }
}
