//! What every connection is served.

use tokio::sync::watch;
use zbus::connection::Builder;

use super::desk::Desk;
use super::engine1::Engine1;
use super::evidence::Evidence1;
use super::manager::Manager;
use super::order::Orders;
use super::orders1::Orders1;
use super::polkit::Polkit;
use super::{Account, ENGINE_PATH, EVIDENCE_PATH, ORDERS_PATH, PATH};

/// What the objects talk to.
#[derive(Clone)]
pub(super) struct Objects {
    pub(super) desk: Desk,
    pub(super) account: watch::Receiver<Account>,
}

impl Objects {
    /// The builder of a connection to a bus, which has callers of all kinds, that serves them.
    pub(super) fn serve_on_bus(self, builder: Builder<'_>) -> Builder<'_> {
        let orders = Orders1 {
            orders: Orders(self.desk.clone()),
            polkit: Polkit::default(),
        };
        self.serve_on(builder).serve_at(ORDERS_PATH, orders)
    }

    /// The builder of a connection that serves them to somebody who may use them all.
    pub(super) fn serve_on(self, builder: Builder<'_>) -> Builder<'_> {
        let Self { desk, account } = self;
        let engine = Engine1 {
            orders: Orders(desk.clone()),
            account: account.clone(),
        };
        builder
            .serve_at(PATH, Manager(desk))
            .serve_at(ENGINE_PATH, engine)
            .serve_at(EVIDENCE_PATH, Evidence1 { account })
    }
}
