//! One method call and its pending answer, and the limits of calls that are unanswered: of one caller,
//! and of all.
//!
//! The bus's own limits don't fit: `dbus-daemon` allows 256 connections of one user, each with 128
//! calls that wait for an answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use zbus::message::{Flags, Header};
use zbus::wire::DynamicType;
use zbus::{Connection, DBusError, Message};

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

/// Most calls of one caller: more than one that reads each property by a call of its own, all at
/// once, has.
pub(super) const MOST_OF_ONE_CALLER: usize = 32;
/// Calls that every caller may have, however many of others wait.
const ALWAYS_ALLOWED: usize = 8;
/// Most calls of all callers together, but for the [`ALWAYS_ALLOWED`] of each.
const MOST_OF_ALL_CALLERS: usize = 4096;
/// Entries for which the table keeps memory when it is empty.
const KEPT: usize = 64;

/// Counts the calls that wait for their answers.
#[derive(Clone, Default)]
pub(super) struct CallLimits(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    of_one: HashMap<Caller, usize>,
    of_all: usize,
}

/// The permit of one call to wait, until this is dropped.
pub(super) struct Permit {
    limits: CallLimits,
    caller: Caller,
}

impl CallLimits {
    /// A permit for one call more of `caller`, unless it has too many. Other callers' calls never
    /// keep it from [`ALWAYS_ALLOWED`].
    pub(super) fn permit(&self, caller: Caller) -> Option<Permit> {
        self.change(|counts| {
            let own = counts.of_one.get(&caller).copied().unwrap_or(0);
            if own >= MOST_OF_ONE_CALLER || (own >= ALWAYS_ALLOWED && counts.of_all >= MOST_OF_ALL_CALLERS) {
                return None;
            }
            counts.of_one.insert(caller.clone(), own + 1);
            counts.of_all += 1;
            Some(())
        })?;
        let limits = self.clone();
        Some(Permit { limits, caller })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.change(|counts| {
            // Each permit was counted once.
            counts.of_all = counts.of_all.saturating_sub(1);
            if let Some(own) = counts.of_one.get_mut(&self.caller) {
                *own = own.saturating_sub(1);
                if *own == 0 {
                    counts.of_one.remove(&self.caller);
                }
            }
            if counts.of_one.is_empty() {
                counts.of_one.shrink_to(KEPT);
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(number: usize) -> Caller {
        format!(":1.{number}").into()
    }

    #[test]
    fn a_caller_with_too_many_calls_is_refused_until_one_is_answered_and_the_others_are_not() {
        let limits = CallLimits::default();
        let mut permits: Vec<Permit> = (0..MOST_OF_ONE_CALLER)
            .map(|_| limits.permit(caller(1)).unwrap())
            .collect();
        assert!(limits.permit(caller(1)).is_none());
        let other = limits.permit(caller(2));
        assert!(other.is_some());
        permits.pop();
        assert!(limits.permit(caller(1)).is_some());
    }

    #[test]
    fn however_many_wait_everybody_has_a_few_places_and_the_memory_is_given_back() {
        let limits = CallLimits::default();
        let calls = |of: usize, count| std::iter::repeat_n(of, count);
        let flood: Vec<Permit> = (0..250)
            .flat_map(|number| calls(number, MOST_OF_ONE_CALLER))
            .filter_map(|number| limits.permit(caller(number)))
            .collect();
        assert!(
            (MOST_OF_ALL_CALLERS..MOST_OF_ALL_CALLERS + 250 * ALWAYS_ALLOWED).contains(&flood.len()),
            "{}",
            flood.len()
        );
        let root: Vec<Permit> = calls(1000, MOST_OF_ONE_CALLER)
            .filter_map(|number| limits.permit(caller(number)))
            .collect();
        assert_eq!(root.len(), ALWAYS_ALLOWED);
        drop((flood, root));
        limits.change(|counts| {
            assert_eq!((counts.of_all, counts.of_one.len()), (0, 0));
            assert!(
                counts.of_one.capacity() <= 2 * KEPT,
                "{}",
                counts.of_one.capacity()
            );
        });
    }
}
