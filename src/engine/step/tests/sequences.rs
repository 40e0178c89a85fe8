//! Sequences of any events in any order, and what holds after each.

use proptest::prelude::*;

use super::*;
use crate::config::Activation;
use crate::engine::{StagedReadiness, Unconfirmed};

fn any_failure() -> impl Strategy<Value = Failure> {
    Just(failure(ErrorCode::Error))
}

fn ready(obstacle: Option<&str>) -> impl Strategy<Value = Event> {
    let obstacle = obstacle.map(str::to_owned);
    proptest::sample::select(vec![Activation::AtOnce, Activation::Reboot, Activation::Order]).prop_map(
        move |activation| {
            Event::Confirmed(Ok(StagedReadiness {
                activation,
                obstacle: obstacle.clone(),
            }))
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Started),
        Just(Event::CheckDue),
        Just(Event::AttemptRequested),
        Just(Event::ResetRequested),
        Just(Event::WithdrawalRequested(WaitingSlot::Kept)),
        Just(Event::WithdrawalRequested(WaitingSlot::Unbootable)),
        Just(Event::Forgotten),
        Just(Event::Overtaken),
        Just(Event::Withdrawn(Ok(()))),
        Just(Event::Withdrawn(Err(SlotError::Io(
            "the table can't be written".into()
        )))),
        Just(Event::MarkGoodDue),
        Just(Event::TrialEnded(TrialEnd::Passed)),
        Just(Event::TrialEnded(TrialEnd::Failed(cause()))),
        Just(Event::FellBack(Fallback::Rebooting)),
        Just(Event::FellBack(Fallback::GoodAfterAll)),
        Just(Event::FellBack(Fallback::Stays("alone".into()))),
        Just(Event::Marked(Ok(()))),
        Just(Event::Marked(Err(SlotError::OnTrial("on trial".into())))),
        Just(Event::Checked(CheckOutcome::NoUpdate, 1)),
        Just(offer()),
        any_failure().prop_map(|f| Event::Checked(CheckOutcome::Failed(f), 1)),
        Just(Event::Prepared(Ok(()))),
        any_failure().prop_map(|f| Event::Prepared(Err(f))),
        (0.0..=1.0).prop_map(Event::Progressed),
        Just(Event::Downloaded(Ok(()))),
        any_failure().prop_map(|f| Event::Downloaded(Err(f))),
        Just(Event::Finished(Ok(Commitment::Clean))),
        any_failure().prop_map(|f| Event::Finished(Ok(Commitment::AfterError(f)))),
        any_failure().prop_map(|f| Event::Finished(Err(f))),
        Just(Event::Finished(Ok(Commitment::Staged(None)))),
        any_failure().prop_map(|f| Event::Finished(Ok(Commitment::Staged(Some(f))))),
        ready(None),
        ready(Some("no kernel")),
        Just(Event::Confirmed(Err(Unconfirmed::Activated))),
        Just(Event::Confirmed(Err(Unconfirmed::Runs))),
        Just(Event::Confirmed(Err(Unconfirmed::NotNow("busy".into())))),
        any_failure().prop_map(|f| Event::Confirmed(Err(Unconfirmed::Void(f)))),
        Just(Event::ActivateRequested),
        Just(Event::Activated(Ok(()))),
        Just(Event::Activated(Err(SlotError::Unfit("no kernel".into())))),
        Just(Event::Reported),
        Just(Event::Pinged),
        Just(another()),
        Just(Event::Revisited(CheckOutcome::NoUpdate, 1)),
        any_failure().prop_map(|f| Event::Revisited(CheckOutcome::Failed(f), 1)),
    ]
}

/// The two slots as the effects leave them at worst: whether each would boot if power failed now.
struct Slots {
    running: bool,
    other: bool,
}

impl Slots {
    /// What an effect that was just ordered, and an event that answers one, do to the disk.
    fn follow(&mut self, event: &Event, effects: &[Effect]) {
        match event {
            Event::Marked(Ok(())) => self.running = true,
            Event::Finished(Ok(Commitment::Staged(_))) => {}
            Event::Finished(Ok(_))
            | Event::Activated(Ok(()))
            | Event::Confirmed(Err(Unconfirmed::Activated)) => self.other = true,
            _ => {}
        }
        // Likewise: only if the disk says that the running slot is good.
        if effects.contains(&Effect::Download) || effects.contains(&Effect::Withdraw) && self.running {
            self.other = false;
        }
        // The order is carried out only if the disk says that the other slot is good; a slot that
        // is good itself is not left at all.
        if self.other && effects.iter().any(|effect| matches!(effect, Effect::FallBack(_))) {
            self.running = false;
        }
    }
}

proptest! {
    #[test]
    fn there_are_never_two_unbootable_slots(
        events in proptest::collection::vec(any_event(), 0..200)
    ) {
        // The worst start: just booted on the last try, the other slot is the fallback.
        let mut slots = Slots { running: false, other: true };
        let mut state = State::idle();
        for event in events {
            let Ok((next, effects)) = step(&state, event.clone()) else { continue };
            slots.follow(&event, &effects);
            prop_assert!(slots.running || slots.other, "after {event} while {}", state.phase());
            state = next;
        }
    }

    #[test]
    fn only_one_job_is_ever_under_way(
        events in proptest::collection::vec(any_event(), 0..200)
    ) {
        let mut state = State::idle();
        for event in events {
            let Ok((next, effects)) = step(&state, event) else { continue };
            let jobs = effects.iter().filter(|effect| matches!(effect,
                Effect::MarkGood | Effect::Check(_) | Effect::Prepare | Effect::Report(_)
                | Effect::Download | Effect::Finish | Effect::FallBack(_) | Effect::Withdraw
                | Effect::Confirm | Effect::Activate | Effect::Unstage)).count();
            prop_assert!(jobs <= 1, "{effects:?}");
            state = next;
        }
    }
}
