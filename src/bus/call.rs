//! One method call and its pending answer.

use std::sync::Arc;

use serde::Serialize;
use zbus::message::{Flags, Header};
use zbus::wire::DynamicType;
use zbus::{Connection, DBusError, Message};

use super::call_limits::Permit;

/// A connection that calls: its unique name on the bus, or nothing where there is no bus.
pub(super) type Caller = Arc<str>;

/// The connection that `message` comes from.
pub(super) fn caller(message: &Message) -> Caller {
    message.header().sender().map_or("", |name| name.as_str()).into()
}

/// A method call. It is answered once, or never if the caller wants no answer.
pub(super) struct Call {
    message: Message,
    connection: Connection,
    /// Given back once the call is answered.
    permit: Permit,
}

impl Call {
    pub(super) fn new(message: Message, connection: Connection, permit: Permit) -> Self {
        Self {
            message,
            connection,
            permit,
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        self.permit.caller()
    }

    pub(super) fn header(&self) -> Header<'_> {
        self.message.header()
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) async fn answer<B: Serialize + DynamicType + Sync>(self, body: &B) {
        if wants_answer(&self.message) {
            log(self.connection.reply(&self.header(), body).await);
        }
    }

    pub(super) async fn fail(self, error: impl DBusError) {
        fail(&self.connection, &self.message, error).await;
    }

    pub(super) async fn answer_or_fail<B: Serialize + DynamicType + Sync, E: DBusError>(
        self,
        outcome: Result<B, E>,
    ) {
        match outcome {
            Ok(body) => self.answer(&body).await,
            Err(error) => self.fail(error).await,
        }
    }
}

/// Answers a call by an error.
pub(super) async fn fail(connection: &Connection, call: &Message, error: impl DBusError) {
    if wants_answer(call) {
        log(connection.reply_dbus_error(&call.header(), error).await);
    }
}

fn wants_answer(call: &Message) -> bool {
    !call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
}

/// A reply fails where the caller has gone.
fn log(sent: zbus::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a call can't be answered");
    }
}
