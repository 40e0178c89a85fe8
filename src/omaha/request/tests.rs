use super::*;
use crate::omaha::{BootOutcome, ErrorCode, Flags};

fn identity() -> NodeIdentity {
    NodeIdentity {
        app_id: "{e96281a6-d1af-4bde-9a0a-97b76e56dc57}".into(),
        version: "3510.2.0".into(),
        track: "stable".into(),
        boot_id: "{14304914-5569-4e3b-bdca-bdcf6d8ed317}".into(),
        oem: String::new(),
        oem_version: String::new(),
        aleph_version: "3510.2.0".into(),
        machine_id: "3d1219c7c4c5404aaa1f6d2a48adfda4".into(),
        machine_alias: String::new(),
        board: "amd64-usr".into(),
        machine: "x86_64".into(),
    }
}

fn xml(body: Body) -> String {
    let request = Request {
        identity: &identity(),
        trigger: Trigger::Operator,
        deltas: Deltas::Unwanted,
        body,
    };
    request.to_xml()
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/omaha/", $name, ".xml"))
    };
}

#[test]
fn checks_are_byte_for_byte_those_of_the_original() {
    let current = "3510.2.0";
    let cases = [
        (None, BootOutcome::Stayed, fixture!("request-check-first")),
        (Some(""), BootOutcome::Stayed, fixture!("request-check")),
        (Some(""), BootOutcome::Updated, fixture!("request-check")),
        (
            Some("1.2.3"),
            BootOutcome::Updated,
            fixture!("request-check-after-update"),
        ),
        // The original says so of an update that was reset, too.
        (Some(current), BootOutcome::Stayed, fixture!("request-check")),
        (
            Some(current),
            BootOutcome::RolledBack,
            fixture!("request-check-rolled-back"),
        ),
    ];
    for (pref, arrival, expected) in cases {
        let event = CheckEvent::from_pref(pref, current, arrival);
        assert_eq!(xml(Body::Check(event)), expected, "{pref:?} {arrival:?}");
    }
}

#[test]
fn the_same_version_in_the_other_slot_is_an_update() {
    let event = CheckEvent::from_pref(Some("1"), "1", BootOutcome::Updated);
    assert_eq!(event, CheckEvent::UpdatedFrom("1".to_owned()));
}

#[test]
fn events_are_byte_for_byte_those_of_the_original() {
    let failed = ErrorCode::PublicKeyVerification.with(Flags::PRIVATE_SERVER);
    let cases = [
        (
            AttemptEvent::DownloadStarted,
            fixture!("request-event-download-started"),
        ),
        (
            AttemptEvent::DownloadFinished,
            fixture!("request-event-download-finished"),
        ),
        (AttemptEvent::Complete, fixture!("request-event-complete")),
        (AttemptEvent::Failed(failed), fixture!("request-event-error")),
    ];
    for (event, expected) in cases {
        assert_eq!(xml(Body::Event(event)), expected, "{event:?}");
    }
}

#[test]
fn an_attempt_that_was_put_off_is_result_nine() {
    for code in [
        ErrorCode::IgnoredPerPolicy,
        ErrorCode::DeferredPerPolicy,
        ErrorCode::DeferredForBackoff,
    ] {
        let event = AttemptEvent::Failed(code.with(Flags::NONE)).to_string();
        assert_eq!(
            event,
            format!(r#"<event eventtype="3" eventresult="9" errorcode="{code}"></event>"#)
        );
    }
}

#[test]
fn a_ping_is_a_ping_alone() {
    let ping = xml(Body::Ping);
    assert!(
        ping.contains("        <ping active=\"1\"></ping>\n    </app>\n"),
        "{ping}"
    );
    assert!(!ping.contains("updatecheck"), "{ping}");
}

#[test]
fn the_schedule_says_that_it_was_the_schedule_and_a_node_that_takes_deltas_that_it_does() {
    let request = Request {
        identity: &identity(),
        trigger: Trigger::Schedule,
        deltas: Deltas::Welcome,
        body: Body::Ping,
    };
    let xml = request.to_xml();
    assert!(xml.contains(r#" installsource="scheduler" "#), "{xml}");
    assert!(
        xml.contains(" hardware_class=\"\" delta_okay=\"true\" >\n"),
        "{xml}"
    );
}

#[test]
fn an_alias_may_hold_any_character_and_the_request_stays_valid() {
    let cases = [
        ("my host <a&b>", "my host &lt;a&amp;b&gt;"),
        ("h\"x", "h&quot;x"),
        ("schön 🦀", "sch&#xF6;n &#x1F980;"),
        ("it's\ta\x01bell\r", "it's\tabell&#13;"),
    ];
    for (alias, escaped) in cases {
        let mut identity = identity();
        identity.machine_alias = alias.to_owned();
        let request = Request {
            identity: &identity,
            trigger: Trigger::Operator,
            deltas: Deltas::Unwanted,
            body: Body::Ping,
        };
        let xml = request.to_xml();
        assert!(
            xml.contains(&format!(" machinealias=\"{escaped}\" lang=")),
            "{xml}"
        );
    }
}
