//! Checks against update servers as they are.

use std::path::PathBuf;
use std::time::Duration;

use update_engine::omaha::{
    Body, CheckAnswer, CheckEvent, Client, Deltas, ErrorCode, HttpStatus, NodeIdentity, PostError, Request,
    Response, Retries,
};
use update_engine::status::Trigger;

use crate::support::environment_rerun::{again, message};
use crate::support::ncat::Ncat;
use test_support::certificates::Authority;
use test_support::server::Server;

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/omaha", name]
        .iter()
        .collect()
}

/// The document of an ordinary check, as long as real ones are.
fn check() -> String {
    let identity = NodeIdentity {
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
    };
    let request = Request {
        identity: &identity,
        trigger: Trigger::Operator,
        deltas: Deltas::Unwanted,
        body: Body::Check(CheckEvent::NothingNew),
    };
    request.to_xml()
}

/// Without a second try: whatever goes wrong is seen. `NCAT_CHECKS=3000` asks as often.
#[tokio::test]
async fn two_hundred_checks_in_a_row_against_a_real_ncat_all_find_its_offer() {
    let server = Ncat::answering(&fixture("response-flatcar-update.xml"));
    let client = Client::default();
    let checks = std::env::var("NCAT_CHECKS").map_or(200, |number| number.parse().unwrap());
    for number in 1..=checks {
        let answer = client.post(&server.url(), check(), Retries::None).await;
        let answer = answer.unwrap_or_else(|error| panic!("check {number}: {error:?}"));
        match answer.response().unwrap().answer {
            CheckAnswer::Offer(offer) => assert_eq!(offer.version, "9999.0.0"),
            CheckAnswer::NoUpdate => panic!("check {number} found nothing"),
        }
    }
}

#[tokio::test]
async fn a_check_over_https_trusts_the_systems_authorities_and_no_other() {
    if let Some(url) = message() {
        let answer = Client::from_env().post(&url, check(), Retries::None).await;
        assert_eq!(answer.unwrap().body, b"<response/>");
        return;
    }
    let authority = Authority::new();
    let server = Server::start_tls(authority.server_config());
    server.serve("update", b"<response/>");
    let url = server.url("update");

    let error = Client::default().post(&url, check(), Retries::None).await;
    let error = error.unwrap_err();
    assert!(matches!(error, PostError::NoAnswer { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::Http(HttpStatus::None));
    assert!(server.requests().is_empty());

    let test = concat!(
        module_path!(),
        "::a_check_over_https_trusts_the_systems_authorities_and_no_other"
    );
    let trusted = authority.certificate();
    again(test, &url, &[("SSL_CERT_FILE", trusted.to_str().unwrap())]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn of_several_applications_the_first_update_check_counts() {
    let app = |inner: &str| format!("<app status=\"ok\">{inner}</app>");
    let none = r#"<updatecheck status="noupdate" PollInterval="7200"/>"#;
    let refused = r#"<updatecheck status="error-internal"/>"#;
    let body = format!("<response>{}{}{}</response>", app(""), app(none), app(refused));
    let response = Response::parse(body.as_bytes()).unwrap();
    assert_eq!(response.answer, CheckAnswer::NoUpdate);
    assert_eq!(response.poll_interval, Some(Duration::from_secs(7200)));
}
