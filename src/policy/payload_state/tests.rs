#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::omaha::HttpStatus;
use crate::policy::{BlockedPayload, Decision, PolicyInput, decide};
use crate::status::Trigger;
use proptest::prelude::*;

const NOW: UnixTime = UnixTime(1_800_000_000);
const SEED: Seed = Seed(7);

fn offer() -> Offer {
    Offer {
        version: "2.0.0".into(),
        package: "update.gz".into(),
        urls: vec!["http://one/update.gz".into(), "http://two/update.gz".into()],
        size: 2_514_292,
        sha256: [0x76; 32].into(),
        kind: PayloadKind::Full,
        backoff: Backoff::Enabled,
        max_failures_per_url: 3,
        metadata: None,
        extras: Vec::new(),
    }
}

fn state(offer: &Offer) -> PayloadState {
    let mut state = PayloadState::default();
    state.offered(offer);
    state
}

fn reloaded(state: &PayloadState, now: UnixTime) -> PayloadState {
    let prefs = state.prefs();
    PayloadState::load(
        |key| {
            prefs
                .iter()
                .find(|(name, _)| *name == key)
                .map(|(_, text)| text.clone())
        },
        now,
    )
}

#[test]
fn the_signature_is_worded_as_the_original_words_it() {
    let mut offer = offer();
    offer.urls.truncate(1);
    offer.max_failures_per_url = 10;
    offer.backoff = Backoff::Disabled;
    assert_eq!(
        state(&offer).prefs()[0].1,
        "NumURLs = 1\nUrl0 = http://one/update.gz\nPayload Size = 2514292\n\
         Payload Sha256 Hash = dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnZ2dnY=\nIs Delta Payload = 0\n\
         Max Failure Count Per Url = 10\nDisable Payload Backoff = 1\n"
    );
}

#[test]
fn wrong_contents_switch_to_the_next_url_at_once_and_after_the_last_comes_the_first() {
    let offer = offer();
    let mut state = state(&offer);
    assert_eq!(state.url(&offer), "http://one/update.gz");
    state.failed(&offer, ErrorCode::PayloadHashMismatch, NOW, SEED);
    assert_eq!(state.url(&offer), "http://two/update.gz");
    assert_eq!(state.backoff(&offer, NodeMode::Production, NOW), None);
    state.failed(&offer, ErrorCode::PublicKeyVerification, NOW, SEED);
    assert_eq!(state.url(&offer), "http://one/update.gz");
    assert_eq!(state.attempts, 1);
    assert!(state.backoff(&offer, NodeMode::Production, NOW).is_some());
}

#[test]
fn a_failing_transfer_gets_as_many_tries_as_the_offer_allows() {
    let offer = offer();
    let mut state = state(&offer);
    for _ in 0..2 {
        state.failed(&offer, ErrorCode::DownloadTransfer, NOW, SEED);
        assert_eq!(state.url(&offer), "http://one/update.gz");
    }
    assert!(state.progressed());
    assert!(!state.progressed());
    for _ in 0..3 {
        assert_eq!(state.url(&offer), "http://one/update.gz");
        state.failed(&offer, ErrorCode::DownloadTransfer, NOW, SEED);
    }
    assert_eq!(state.url(&offer), "http://two/update.gz");
}

#[test]
fn failures_that_are_not_the_urls_fault_change_nothing() {
    let offer = offer();
    let before = state(&offer);
    for code in [
        ErrorCode::Postinstall,
        ErrorCode::NewRootfsVerification,
        ErrorCode::DeferredForBackoff,
        ErrorCode::ResponseInvalid,
    ] {
        let mut after = before.clone();
        after.failed(&offer, code, NOW, SEED);
        assert_eq!(after, before, "{code:?}");
    }
    assert_eq!(penalty(ErrorCode::Http(HttpStatus::Status(404))), Penalty::Count);
}

#[test]
fn each_complete_download_of_a_full_payload_doubles_the_wait_up_to_sixteen_days() {
    let offer = offer();
    let mut state = state(&offer);
    for days in [1, 2, 4, 8, 16, 16, 16] {
        state.downloaded(&offer, NOW, SEED);
        let until = state.backoff(&offer, NodeMode::Production, NOW).unwrap();
        let jitter = until.0 - NOW.0 - days * backoff::DAY;
        assert!(jitter.abs() <= 6 * 60 * 60, "{days} days and {jitter} s");
    }
    let mut endless = PayloadState {
        attempts: u32::MAX,
        ..state
    };
    endless.downloaded(&offer, NOW, SEED);
    assert!(
        endless.backoff(&offer, NodeMode::Production, NOW).unwrap() <= NOW.plus_seconds(backoff::LONGEST)
    );
}

#[test]
fn the_wait_ends() {
    let offer = offer();
    let mut state = state(&offer);
    state.downloaded(&offer, NOW, SEED);
    let until = state.backoff(&offer, NodeMode::Production, NOW).unwrap();
    assert_eq!(state.backoff(&offer, NodeMode::Production, until), Some(until));
    assert_eq!(
        state.backoff(&offer, NodeMode::Production, until.plus_seconds(1)),
        None
    );
}

#[test]
fn deltas_developers_and_offers_that_say_so_never_wait() {
    let full = offer();
    let mut state = state(&full);
    state.downloaded(&full, NOW, SEED);
    let delta = Offer {
        kind: PayloadKind::Delta,
        ..offer()
    };
    let disabled = Offer {
        backoff: Backoff::Disabled,
        ..offer()
    };
    assert_eq!(state.backoff(&delta, NodeMode::Production, NOW), None);
    assert_eq!(state.backoff(&disabled, NodeMode::Production, NOW), None);
    assert_eq!(state.backoff(&full, NodeMode::Developer, NOW), None);
    let before = state.clone();
    state.downloaded(&delta, NOW, SEED);
    assert_eq!(state, before, "a delta is no attempt at the full payload");
}

#[test]
fn another_offer_starts_afresh_and_the_same_one_does_not() {
    let one = offer();
    let mut state = state(&one);
    state.failed(&one, ErrorCode::InvalidMagic, NOW, SEED);
    let before = state.clone();
    state.offered(&one);
    assert_eq!(state, before);
    let other = Offer { size: 1, ..offer() };
    state.offered(&other);
    assert_eq!(state.url(&other), "http://one/update.gz");
}

#[test]
fn everything_survives_a_restart() {
    let offer = offer();
    let mut state = state(&offer);
    state.downloaded(&offer, NOW, SEED);
    state.failed(&offer, ErrorCode::InvalidMagic, NOW, SEED);
    state.failed(&offer, ErrorCode::DownloadTransfer, NOW, SEED);
    assert_eq!(reloaded(&state, NOW), state);
}

#[test]
fn nonsense_on_disk_is_taken_for_nothing() {
    let text = |key| {
        let value = match key {
            Key::CurrentResponseSignature => "signature",
            Key::PayloadAttemptNumber => "-1",
            Key::CurrentUrlIndex => "99999999999",
            Key::CurrentUrlFailureCount => "many",
            _ => "9223372036854775807",
        };
        Some(value.to_owned())
    };
    let state = PayloadState::load(text, NOW);
    assert_eq!((state.attempts, state.url_index, state.url_failures), (0, 0, 0));
    assert_eq!(
        state.backoff_until,
        Some(NOW),
        "a clock once far ahead holds nothing up"
    );
    let mut tampered = PayloadState {
        url_index: 7,
        ..self::state(&offer())
    };
    tampered.offered(&offer());
    assert_eq!(tampered, self::state(&offer()));
}

#[test]
fn a_payload_that_was_rolled_back_is_taken_only_when_somebody_asks() {
    let offer = offer();
    let state = state(&offer);
    let blocked = BlockedPayload {
        sha256: offer.sha256,
        version: offer.version.clone(),
        noticed: NOW,
        cause: "did not come up".into(),
        image: None,
        retry_from: None,
        lost_trials: 0,
    };
    let input = |trigger| PolicyInput {
        payload_state: &state,
        blocked: Some(&blocked),
        trigger,
        mode: NodeMode::Production,
        now: NOW,
    };
    let scheduled = decide(&offer, &input(Trigger::Schedule));
    assert!(matches!(scheduled, Decision::RolledBackBefore(_)));
    let url = "http://one/update.gz";
    assert_eq!(decide(&offer, &input(Trigger::Operator)), Decision::Take { url });
}

#[test]
fn an_offer_that_must_wait_is_put_off_with_its_code() {
    let offer = offer();
    let mut state = state(&offer);
    state.downloaded(&offer, NOW, SEED);
    let decision = decide(
        &offer,
        &PolicyInput {
            payload_state: &state,
            blocked: None,
            trigger: Trigger::Schedule,
            mode: NodeMode::Production,
            now: NOW,
        },
    );
    assert!(matches!(decision, Decision::BackOff { .. }));
}

proptest! {
    #[test]
    fn whatever_happens_the_url_is_one_of_the_offers(codes in proptest::collection::vec(0..4_u8, 0..60)) {
        let offer = offer();
        let mut state = state(&offer);
        for code in codes {
            match code {
                0 => state.failed(&offer, ErrorCode::InvalidMagic, NOW, SEED),
                1 => state.failed(&offer, ErrorCode::DownloadTransfer, NOW, SEED),
                2 => state.downloaded(&offer, NOW, SEED),
                _ => state = reloaded(&state, NOW),
            }
            prop_assert!(offer.urls.iter().any(|url| url == state.url(&offer)));
        }
    }
}
