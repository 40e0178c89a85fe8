//! The object `/org/updateengine/Engine1/Orders`: what [`Engine1`](super::engine1::Engine1) does, for whoever
//! polkit allows it.

use zbus::message::Header;
use zbus::{Connection, interface};

use super::OfferSource;
use super::order::{OrderError, Orders};
use super::polkit::{Action, Polkit};
use super::record::Record;

/// The interface `org.updateengine.Orders1` on a bus that has polkit, or hasn't.
pub(super) struct Orders1 {
    pub(super) orders: Orders,
    pub(super) polkit: Polkit,
}

// Each call in a task of its own, as is the default: nobody waits while somebody else is asked for a password.
#[interface(name = "org.updateengine.Orders1", introspection_docs = false)]
impl Orders1 {
    async fn check(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), OrderError> {
        self.polkit.must_allow(Action::Check, &call, bus).await?;
        self.orders.check().await
    }

    #[zbus(out_args("preview"))]
    async fn preview(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Record, OrderError> {
        self.polkit.must_allow(Action::Preview, &call, bus).await?;
        self.orders.preview(OfferSource::LastCheck).await
    }

    /// What it costs at the server is what a check costs.
    #[zbus(out_args("preview"))]
    async fn preview_asking(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<Record, OrderError> {
        self.polkit.must_allow(Action::Check, &call, bus).await?;
        self.orders.preview(OfferSource::Server).await
    }

    async fn reset(
        &self,
        withdraw_slot: bool,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), OrderError> {
        self.polkit.must_allow(Action::Reset, &call, bus).await?;
        self.orders.reset(withdraw_slot).await
    }

    async fn roll_back(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), OrderError> {
        self.polkit.must_allow(Action::RollBack, &call, bus).await?;
        self.orders.roll_back().await
    }

    async fn cancel(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), OrderError> {
        self.polkit.must_allow(Action::Cancel, &call, bus).await?;
        self.orders.cancel().await
    }

    async fn mark_good(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] bus: &Connection,
    ) -> Result<(), OrderError> {
        self.polkit.must_allow(Action::MarkGood, &call, bus).await?;
        self.orders.mark_good().await
    }
}
