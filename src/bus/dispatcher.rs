//! The dispatcher: takes the calls of one connection and has them answered.
//!
//! There are three ways to an answer, so that no caller keeps others out:
//!
//! - What needs no engine (properties, introspection, errors) is answered in turns, one call of each
//!   caller ([`FairQueue`]): a caller waits for no more answers than there are other callers, however
//!   many calls those have made. Many calls are taken in for each answer, so that a caller's turn
//!   doesn't wait for what others sent before; but not all, so that a caller that never stops keeps
//!   nobody from an answer.
//! - The methods of the original's interface are answered one after the other, as the single thread
//!   of the original did: a client that calls `AttemptUpdate` and `GetStatus` without waiting gets
//!   the status after the attempt.
//! - Control requests have a task each: no caller waits while polkit asks another one's user for a
//!   password.
//!
//! No caller has more than a few calls that wait for their answers, in whichever way: see
//! [`super::call`].

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use zbus::message::Type;
use zbus::names::InterfaceName;
use zbus::{Connection, Message, MessageStream, fdo};

use super::call::{Call, CallLimits, Caller, MOST_OF_ONE_CALLER, caller, fail};
use super::manager::{ManagerMethod, ManagerObject};
use super::object_tree::{Address, Method, Standard, TreeNode};
use super::objects::Objects;

/// Longest call in bytes, header and all: no call of a method that exists has half of them.
const LONGEST: usize = 1024;

/// Calls taken in before the next answer: as many as the library keeps ready.
const AT_ONCE: usize = 64;

/// The calls of one connection.
pub(super) struct Dispatcher {
    incoming: MessageStream,
    connection: Connection,
    objects: Arc<Objects>,
    limits: CallLimits,
    queue: FairQueue<Waiting>,
    /// Calls of the first interface, in the order in which they came. As many as `limits` lets
    /// wait.
    to_manager: mpsc::UnboundedSender<(ManagerMethod, Call)>,
}

/// A call that is answered in its turn.
struct Waiting {
    call: Call,
    node: Option<&'static TreeNode>,
    /// None if there is no such method.
    method: Option<Standard>,
}

impl Dispatcher {
    /// A dispatcher of the calls that come in from `incoming`.
    pub(super) fn new(incoming: MessageStream, objects: Arc<Objects>) -> Self {
        let (to_manager, calls) = mpsc::unbounded_channel();
        // Ends once it has answered everything and this dispatcher is gone.
        tokio::spawn(ManagerObject(objects.engine.clone()).run(calls));
        Self {
            connection: Connection::from(&incoming),
            incoming,
            objects,
            limits: CallLimits::default(),
            queue: FairQueue::default(),
            to_manager,
        }
    }

    /// Returns once the connection is closed.
    pub(super) async fn run(mut self) {
        let mut taken = 0;
        loop {
            tokio::select! {
                biased;
                message = self.incoming.next(), if taken < AT_ONCE || self.queue.is_empty() => match message {
                    Some(Ok(message)) if message.message_type() == Type::MethodCall => {
                        taken += 1;
                        self.take(message).await;
                    }
                    Some(_) => {}
                    None => break,
                },
                () = ready(()), if !self.queue.is_empty() => {
                    if let Some(Waiting { call, node, method }) = self.queue.next() {
                        self.objects.answer(call, node, method).await;
                    }
                    taken = 0;
                    // For the task that reads the socket.
                    yield_now().await;
                }
            }
        }
    }

    async fn take(&mut self, message: Message) {
        let length = message.data().len();
        if length > LONGEST {
            let text = format!("a call of {length} bytes: more than {LONGEST} are not taken");
            return fail(&self.connection, &message, fdo::Error::LimitsExceeded(text)).await;
        }
        let Some(permit) = self.limits.permit(caller(&message)) else {
            let text = format!(
                "too many calls of this connection wait for their answers: at most {MOST_OF_ONE_CALLER} may"
            );
            return fail(&self.connection, &message, fdo::Error::LimitsExceeded(text)).await;
        };
        let found = self.find(&message);
        let call = Call::new(message, self.connection.clone(), permit);
        self.pass_on(call, found);
    }

    fn find(&self, message: &Message) -> Option<(Option<&'static TreeNode>, Method)> {
        let header = message.header();
        let signature = header.signature().to_string_no_parens();
        self.objects.access().find(Address {
            path: header.path()?.as_str(),
            interface: header.interface().map(InterfaceName::as_str),
            member: header.member()?.as_str(),
            signature: &signature,
        })
    }

    fn pass_on(&mut self, call: Call, found: Option<(Option<&'static TreeNode>, Method)>) {
        let (node, method) = match found {
            Some((_, Method::Manager(method))) => {
                // It runs for as long as this does.
                let _ = self.to_manager.send((method, call));
                return;
            }
            Some((_, Method::ControlRequest(gate, request))) => {
                let objects = Arc::clone(&self.objects);
                tokio::spawn(async move { objects.control(call, gate, request).await });
                return;
            }
            Some((node, Method::Standard(method))) => (node, Some(method)),
            None => (None, None),
        };
        let caller = call.caller().clone();
        self.queue.push(&caller, Waiting { call, node, method });
    }
}

/// Entries for which the tables keep memory when they are empty.
const KEPT: usize = 64;

/// Waiting calls by caller. Without a bound of its own: it holds as many calls as `CallLimits` lets
/// wait.
struct FairQueue<T> {
    /// Callers that have a call waiting, each once; the first is next.
    callers: VecDeque<Caller>,
    waiting: HashMap<Caller, VecDeque<T>>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            callers: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }
}

impl<T> FairQueue<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// Queues `call` behind those of the same caller, and a caller of whom nothing waits behind the
    /// others.
    pub(super) fn push(&mut self, caller: &Caller, call: T) {
        let own = self.waiting.entry(caller.clone()).or_default();
        if own.is_empty() {
            self.callers.push_back(caller.clone());
        }
        own.push_back(call);
    }

    /// The call whose turn it is.
    pub(super) fn next(&mut self) -> Option<T> {
        let caller = self.callers.pop_front()?;
        // Every caller in the queue has a call waiting.
        let own = self.waiting.get_mut(&caller)?;
        let call = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.callers.push_back(caller);
        }
        if self.is_empty() {
            self.callers.shrink_to(KEPT);
            self.waiting.shrink_to(KEPT);
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_caller_waits_for_one_answer_to_each_other() {
        let mut queue = FairQueue::default();
        for number in 0..250 {
            for call in 0..30 {
                queue.push(&format!(":1.{number}").into(), (number, call));
            }
        }
        let root = Caller::from(":1.1000");
        queue.push(&root, (1000, 0));
        queue.push(&root, (1000, 1));
        let order: Vec<(i32, i32)> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order.len(), 7502);
        let place = |wanted| order.iter().position(|call| *call == wanted);
        assert_eq!(place((1000, 0)), Some(250));
        assert_eq!(place((1000, 1)), Some(501));
        let of_one: Vec<i32> = order
            .iter()
            .filter(|(number, _)| *number == 7)
            .map(|(_, call)| *call)
            .collect();
        assert!(of_one.is_sorted(), "in the order in which they were made");

        assert!(queue.is_empty() && queue.waiting.is_empty());
        assert!(queue.callers.capacity() <= 2 * KEPT && queue.waiting.capacity() <= 2 * KEPT);
    }
}
