//! The client of polkit, which decides whether a caller may make a control request.
//!
//! Only calls of `Control1` are put to polkit. Root and the group `update-engine` use `Engine1`,
//! and depend on no other service. Only a clear yes is one: an error, no polkit, no answer in time,
//! or a password that nobody could be asked for is a refusal.
//!
//! The question names the caller by its unique name on the bus, which is never given to another
//! connection; the bus gives polkit's name to polkit alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use zbus::message::{Flags, Header};
use zbus::wire::Variant;
use zbus::{Connection, fdo};

use super::control::ControlError;

/// Most questions to polkit under way at a time. Each costs a task and a message.
const PLACES: usize = 16;
/// How long polkit may take without interaction; it may have to be started.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long polkit may take when it may ask for a password.
const INTERACTIVE_PATIENCE: Duration = Duration::from_secs(120);

/// polkit's flag `AllowUserInteraction`: it may ask for a password.
const ALLOW_USER_INTERACTION: u32 = 1;

/// The actions that polkit is asked about; the names are those of `dbus/org.updateengine.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolkitAction {
    Check,
    Preview,
    Reset,
    Activate,
    RollBack,
    Cancel,
    MarkGood,
}

impl PolkitAction {
    const fn id(self) -> &'static str {
        match self {
            Self::Check => "org.updateengine.check",
            Self::Preview => "org.updateengine.preview",
            Self::Reset => "org.updateengine.reset",
            Self::Activate => "org.updateengine.activate",
            Self::RollBack => "org.updateengine.rollback",
            Self::Cancel => "org.updateengine.cancel",
            Self::MarkGood => "org.updateengine.mark-good",
        }
    }
}

impl fmt::Display for PolkitAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Whether the caller set `ALLOW_INTERACTIVE_AUTHORIZATION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interaction {
    Allowed,
    NotAllowed,
}

impl Interaction {
    /// As the flags of `call` say.
    fn of(call: &Header<'_>) -> Self {
        if call.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH) {
            Self::Allowed
        } else {
            Self::NotAllowed
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Allowed => ALLOW_USER_INTERACTION,
            Self::NotAllowed => 0,
        }
    }

    const fn patience(self) -> Duration {
        match self {
            Self::Allowed => INTERACTIVE_PATIENCE,
            Self::NotAllowed => PATIENCE,
        }
    }
}

/// polkit's subject: its kind, and the details of that kind.
type Subject<'a> = (&'static str, HashMap<&'static str, Variant<'a>>);

/// polkit's answer: whether the caller is authorized, whether it would be after a challenge, and
/// details.
type Authorization = (bool, bool, HashMap<String, String>);

#[zbus::proxy(
    interface = "org.freedesktop.PolicyKit1.Authority",
    default_service = "org.freedesktop.PolicyKit1",
    default_path = "/org/freedesktop/PolicyKit1/Authority"
)]
trait Authority {
    fn check_authorization(
        &self,
        subject: &Subject<'_>,
        action_id: &str,
        details: &HashMap<&str, &str>,
        flags: u32,
        cancellation_id: &str,
    ) -> zbus::Result<Authorization>;

    #[zbus(no_reply)]
    fn cancel_check_authorization(&self, cancellation_id: &str) -> zbus::Result<()>;
}

/// Asks polkit, for all callers of one service.
#[derive(Clone)]
pub(super) struct Polkit {
    places: Arc<Semaphore>,
}

impl Default for Polkit {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }
}

impl Polkit {
    /// Returns once polkit has said that the sender of `call` may have `action` done.
    pub(super) async fn must_allow(
        &self,
        action: PolkitAction,
        call: &Header<'_>,
        bus: &Connection,
    ) -> Result<(), ControlError> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(ControlError::Denied(format!(
                "polkit is being asked about {PLACES} others"
            )));
        };
        let interaction = Interaction::of(call);
        let answer = ask(action, call, interaction, bus).await;
        answer
            .and_then(|answer| judge(action, interaction, answer))
            .inspect_err(|error| {
                tracing::debug!(%action, ?error, "an order is refused");
            })?;
        let sender = call.sender().map(ToString::to_string).unwrap_or_default();
        tracing::info!("polkit lets {sender} give an order: {action}");
        Ok(())
    }
}

async fn ask(
    action: PolkitAction,
    call: &Header<'_>,
    interaction: Interaction,
    bus: &Connection,
) -> Result<Authorization, ControlError> {
    let unclear = |error: zbus::Error| unanswered(action, &error);
    let Some(sender) = call.sender() else {
        return Err(ControlError::Denied("the bus doesn't say who calls".to_owned()));
    };
    let authority = AuthorityProxy::new(bus).await.map_err(unclear)?;
    let subject = (
        "system-bus-name",
        HashMap::from([("name", sender.as_str().into())]),
    );
    // Different for each call that is being waited for: a sender doesn't repeat the number of its
    // calls.
    let cancellation = format!("{sender}/{}", call.primary().serial_num());
    let details = HashMap::new();
    let question = authority.check_authorization(
        &subject,
        action.id(),
        &details,
        interaction.flags(),
        &cancellation,
    );
    if let Ok(answer) = timeout(interaction.patience(), question).await {
        return answer.map_err(unclear);
    }
    // So that nobody types a password for what has been refused.
    let _ = authority.cancel_check_authorization(&cancellation).await;
    let seconds = interaction.patience().as_secs();
    let sentence = format!("polkit has not said within {seconds} s whether {action} is allowed");
    Err(ControlError::Denied(sentence))
}

fn judge(
    action: PolkitAction,
    interaction: Interaction,
    (is_allowed, takes_password, _): Authorization,
) -> Result<(), ControlError> {
    match (is_allowed, takes_password, interaction) {
        (true, ..) => Ok(()),
        (false, true, Interaction::NotAllowed) => Err(ControlError::PasswordNeeded(format!(
            "polkit wants a password for {action}, and the call does not say that somebody can be asked"
        ))),
        (false, true, Interaction::Allowed) => Err(ControlError::Denied(format!(
            "polkit wants a password for {action}, and nobody could be asked: no agent of polkit runs in this session"
        ))),
        (false, false, _) => Err(ControlError::Denied(format!("polkit does not allow {action}"))),
    }
}

fn unanswered(action: PolkitAction, error: &zbus::Error) -> ControlError {
    let is_absent = match error {
        zbus::Error::MethodError(name, ..) => matches!(
            name.as_str(),
            "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner"
        ),
        zbus::Error::FDO(error) => matches!(
            **error,
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)
        ),
        _ => false,
    };
    ControlError::Denied(if is_absent {
        "this node has no polkit that could allow it".to_owned()
    } else {
        format!("polkit could not be asked about {action}: {error}")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::StreamExt as _;
    use zbus::wire::OwnedVariant;
    use zbus::{Message, MessageStream};

    use super::super::CONTROL_PATH;
    use super::*;
    use crate::bus::peer::pair;

    /// An order by `:1.7`.
    fn call(flags: Flags) -> Message {
        let call = Message::method_call(CONTROL_PATH, "RollBack");
        call.sender(":1.7").with_flags(flags).build(&()).unwrap()
    }

    /// A question to polkit: subject, action, details, flags, and the name by which it can be
    /// cancelled.
    type Question = (
        (String, HashMap<String, OwnedVariant>),
        String,
        HashMap<String, String>,
        u32,
        String,
    );

    /// Gives the order to a polkit that gives `answer`; what came of it, and what polkit was asked.
    async fn control(flags: Flags, answer: Authorization) -> (Result<(), ControlError>, Question) {
        let (ours, theirs) = pair().await;
        let mut asked = MessageStream::from(&theirs);
        let call = call(flags);
        let header = call.header();
        let polkit = Polkit::default();
        let answering = async {
            let question = asked.next().await.unwrap().unwrap();
            theirs.reply(&question.header(), &(answer,)).await.unwrap();
            question.body().deserialize().unwrap()
        };
        tokio::join!(
            polkit.must_allow(PolkitAction::RollBack, &header, &ours),
            answering
        )
    }

    #[tokio::test]
    async fn polkit_is_asked_about_the_caller_and_only_a_clear_yes_is_one() {
        let somebody = Flags::ALLOW_INTERACTIVE_AUTH;
        for (flags, is_allowed, takes_password, said) in [
            (Flags::empty(), true, false, None),
            (somebody, true, true, None),
            (
                Flags::empty(),
                false,
                true,
                Some("InteractiveAuthorizationRequired"),
            ),
            (somebody, false, true, Some("AccessDenied")),
            (Flags::empty(), false, false, Some("AccessDenied")),
            (somebody, false, false, Some("AccessDenied")),
        ] {
            let (outcome, question) = control(flags, (is_allowed, takes_password, HashMap::new())).await;
            let ((kind, caller), action, details, interaction, _) = question;
            assert_eq!(
                (kind.as_str(), &*caller["name"]),
                ("system-bus-name", &":1.7".into())
            );
            assert_eq!(action, "org.updateengine.rollback");
            assert!(details.is_empty());
            assert_eq!(interaction, u32::from(flags == somebody));
            let name = |error| zbus::DBusError::name(&error).as_str().to_owned();
            let said = said.map(|name| format!("org.freedesktop.DBus.Error.{name}"));
            assert_eq!(outcome.map_err(name).err(), said);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_polkit_that_never_answers_refuses_in_the_end_and_the_question_is_taken_back() {
        for flags in [Flags::empty(), Flags::ALLOW_INTERACTIVE_AUTH] {
            let (ours, theirs) = pair().await;
            let mut asked = MessageStream::from(&theirs);
            let refused = Polkit::default()
                .must_allow(PolkitAction::Reset, &call(flags).header(), &ours)
                .await;
            assert!(matches!(refused, Err(ControlError::Denied(_))), "{refused:?}");

            let question = asked.next().await.unwrap().unwrap();
            let question: Question = question.body().deserialize().unwrap();
            let taken_back = asked.next().await.unwrap().unwrap();
            assert_eq!(taken_back.header().member().unwrap(), "CancelCheckAuthorization");
            assert_eq!(taken_back.body().deserialize::<String>().unwrap(), question.4);
        }
    }

    #[tokio::test]
    async fn no_more_callers_wait_than_there_are_places() {
        let (ours, _theirs) = pair().await;
        let polkit = Polkit::default();
        let taken = polkit.places.clone().acquire_many_owned(16).await.unwrap();
        let call = call(Flags::empty());
        let refused = polkit
            .must_allow(PolkitAction::Check, &call.header(), &ours)
            .await;
        assert!(matches!(refused, Err(ControlError::Denied(_))));
        drop(taken);
    }
}
