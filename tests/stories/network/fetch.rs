//! Payloads from servers that behave, and from servers that don't.

mod mirrors;
mod resumed;

use std::num::NonZeroU64;
use std::time::Duration;

use update_engine::fetch::{
    Entity, FetchError, FetchRequest, FetchSettings, Fetcher, Interruption, PayloadStream, RedirectFault,
};

use crate::support::fetching;
use test_support::server::{Recorded, Server};

/// Not a multiple of anything, and every part of it different.
fn payload() -> Vec<u8> {
    (0..300_007_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(1_200_001)
        .collect()
}

/// The default patience without the pauses.
fn settings() -> FetchSettings {
    FetchSettings {
        resume_delay: Duration::ZERO,
        no_answer_delay: Duration::ZERO,
        ..FetchSettings::default()
    }
}

/// For servers that fall silent: they do so for ever, so any window will see it.
fn impatient() -> FetchSettings {
    FetchSettings {
        stall_window: Duration::from_millis(500),
        ..settings()
    }
}

fn server() -> Server {
    let server = Server::start();
    server.serve("update.gz", payload());
    server
}

fn request(server: &Server, faults: &str) -> FetchRequest {
    fetching::request(server.url(&format!("{faults}/update.gz")), payload().len() as u64)
}

async fn open(server: &Server, faults: &str) -> Result<PayloadStream, FetchError> {
    Fetcher::new(settings()).open(request(server, faults)).await
}

/// Opens a download that stopped at byte 400,000 of the file known as `entity`.
async fn reopen(server: &Server, faults: &str, entity: Option<&str>) -> Result<PayloadStream, FetchError> {
    let entity = entity.map(|tag| Entity::parse(tag).unwrap());
    let request = FetchRequest {
        start: 400_000,
        entity,
        ..request(server, faults)
    };
    Fetcher::new(settings()).open(request).await
}

async fn read(stream: &mut PayloadStream) -> Result<Vec<u8>, FetchError> {
    let (mut all, most) = (Vec::new(), payload().len());
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes?);
        assert!(all.len() <= most);
    }
    Ok(all)
}

async fn download(server: &Server, faults: &str) -> Result<Vec<u8>, FetchError> {
    read(&mut open(server, faults).await?).await
}

fn ranges(requests: &[Recorded]) -> Vec<Option<&str>> {
    requests.iter().map(|r| r.header("range")).collect()
}

#[tokio::test]
async fn a_fresh_download_is_one_plain_request() {
    let server = server();
    let mut stream = open(&server, "").await.unwrap();
    assert_eq!(stream.entity().unwrap().as_str(), "\"v1\"");
    assert!(read(&mut stream).await.unwrap() == payload());
    assert!(stream.next().await.is_none());
    let [request] = &server.requests()[..] else {
        panic!()
    };
    assert_eq!(request.method, "GET");
    let names: Vec<_> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "accept"]);
}

#[tokio::test]
async fn a_download_that_is_cut_off_goes_on_where_it_was() {
    let server = server();
    assert!(download(&server, "cut=500000;cut=300000;").await.unwrap() == payload());
    let requests = server.requests();
    assert_eq!(
        ranges(&requests),
        [None, Some("bytes=500000-"), Some("bytes=800000-")]
    );
    // Whatever the next mirror calls the file: hashes decide.
    assert_eq!(requests[1].header("if-range"), None);
}

#[tokio::test]
async fn a_download_is_taken_up_again_20_times_at_most() {
    let server = server();
    assert!(
        download(&server, &format!("{};", "cut=1000;".repeat(20)))
            .await
            .unwrap()
            == payload()
    );
    match download(&server, "cut=1000").await.unwrap_err() {
        FetchError::Interrupted {
            offset: 21_000,
            resumes: 20,
            ..
        } => {}
        other => panic!("{other}"),
    }
    assert_eq!(server.requests().len(), 21 + 21);
}

#[tokio::test]
async fn a_download_that_stalls_goes_on_over_a_new_connection() {
    let server = server();
    let fetcher = Fetcher::new(impatient());
    let mut stream = fetcher
        .open(request(&server, "stall=500000;silence;"))
        .await
        .unwrap();
    assert!(read(&mut stream).await.unwrap() == payload());
    assert_eq!(ranges(&server.requests())[2], Some("bytes=500000-"));
}

#[tokio::test]
async fn a_download_that_always_stalls_ends_with_that_reason() {
    let server = server();
    let fetcher = Fetcher::new(FetchSettings {
        resumes: 1,
        ..impatient()
    });
    let mut stream = fetcher.open(request(&server, "stall=1000")).await.unwrap();
    let error = read(&mut stream).await.unwrap_err();
    let FetchError::Interrupted {
        offset: 2000, source, ..
    } = error
    else {
        panic!("{error}")
    };
    assert!(matches!(source, Interruption::Stalled { bytes: 900, .. }));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn bytes_are_handed_on_as_they_come_and_a_dropped_wait_loses_none() {
    let server = server();
    let mut stream = open(&server, "gate=400001").await.unwrap();
    server.release(1);
    let mut all = Vec::new();
    while all.len() < 400_001 {
        all.extend_from_slice(&stream.next().await.unwrap().unwrap());
    }
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::ZERO, stream.next()).await.is_err());
    }
    server.release(2);
    while let Some(bytes) = stream.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    assert!(all == payload());
}

/// What comes of ten parts of 15 bytes.
async fn parts(server: &Server, faults: &str, settings: FetchSettings) -> (usize, Option<FetchError>) {
    let parts = (0..10).map(|number| number * 1000..number * 1000 + 15).collect();
    let mut stream = Fetcher::new(settings).ranges(request(server, faults), parts);
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await {
        match bytes {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => return (all.len(), Some(error)),
        }
    }
    let payload = payload();
    let expected = (0..10).flat_map(|number| payload[number * 1000..][..15].to_vec());
    assert_eq!(all, expected.collect::<Vec<u8>>());
    (all.len(), None)
}

/// A server may answer each of hundreds of ranges with a cut or with silence.
#[tokio::test]
async fn parts_of_a_payload_have_the_resumptions_of_one_download_together() {
    let few = |resumes| FetchSettings {
        resumes,
        ..impatient()
    };
    let server = server();
    // Each answer ends after ten bytes: a part needs two.
    let (len, error) = parts(&server, "cut=10", few(10)).await;
    assert!(error.is_none() && len == 150, "{error:?}");
    for fault in ["cut=10", "stall=10"] {
        let before = server.requests().len();
        let (len, error) = parts(&server, fault, few(3)).await;
        assert!(matches!(error, Some(FetchError::Interrupted { .. })), "{error:?}");
        // Three whole ones, and the beginning of another.
        assert_eq!(len, 3 * 15 + 10);
        assert!(server.requests().len() - before < 20);
    }
}

/// One of hundreds of requests may come at a bad moment.
#[tokio::test]
async fn a_server_that_is_busy_for_a_moment_between_two_parts_is_asked_again() {
    // With a limit parts are asked for one by one.
    let one_by_one = |resumes| FetchSettings {
        resumes,
        rate: NonZeroU64::new(1 << 40),
        ..impatient()
    };
    let server = server();
    let (len, error) = parts(&server, ";status=503;;status=429;status=408;", one_by_one(3)).await;
    assert!(error.is_none() && len == 150, "{error:?}");
    assert_eq!(server.requests().len(), 13);

    // No more often than a download that breaks off; and not if it was busy from the beginning, or says no.
    for (faults, brought, requests, status) in [
        (";status=503", 15, 5, 503),
        ("status=503;", 0, 1, 503),
        (";status=404", 15, 2, 404),
    ] {
        let before = server.requests().len();
        let (len, error) = parts(&server, faults, one_by_one(3)).await;
        assert_eq!(error.and_then(|error| error.status()), Some(status), "{faults}");
        assert_eq!(len, brought, "{faults}");
        assert_eq!(server.requests().len() - before, requests, "{faults}");
    }
    let (len, error) = parts(&server, ";status=500;;status=500;", one_by_one(1)).await;
    assert!(matches!(error, Some(FetchError::Interrupted { .. })), "{error:?}");
    assert_eq!(len, 30);
}

#[tokio::test]
async fn a_server_without_ranges_is_good_for_a_whole_download_with_cuts() {
    for server_kind in [
        "no-range",
        "no-range,no-etag",
        "no-range,no-etag,close",
        "no-range,chunked",
    ] {
        let server = server();
        let faults = format!("{server_kind},cut=700000;{server_kind}");
        assert!(
            download(&server, &faults).await.unwrap() == payload(),
            "{server_kind}"
        );
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_declared_encoding_nobody_asked_for_is_ignored() {
    assert!(download(&server(), "encoding=x-gzip").await.unwrap() == payload());
}

#[tokio::test]
async fn a_file_of_another_size_is_refused_before_its_first_byte() {
    for (faults, size) in [("longer=1", 1_200_002), ("shorter=1", 1_200_000)] {
        match open(&server(), faults).await.unwrap_err() {
            FetchError::WrongSize {
                offered: 1_200_001,
                served,
                ..
            } => assert_eq!(served, size),
            other => panic!("{other}"),
        }
    }
    let resumed = reopen(&server(), "shorter=900000", Some("\"v1\""))
        .await
        .unwrap_err();
    assert!(
        matches!(resumed, FetchError::WrongSize { served: 300_001, .. }),
        "{resumed}"
    );
}

#[tokio::test]
async fn of_a_file_of_unknown_length_no_more_than_the_offer_is_taken() {
    for faults in ["longer=1,chunked", "longer=100000,close", "longer=65536,chunked"] {
        let error = download(&server(), faults).await.unwrap_err();
        assert!(
            matches!(
                error,
                FetchError::TooLong {
                    offered: 1_200_001,
                    ..
                }
            ),
            "{error}"
        );
    }
    for faults in ["chunked", "close"] {
        assert!(download(&server(), faults).await.unwrap() == payload());
    }
}

#[tokio::test]
async fn a_file_that_ends_early_is_told_from_a_broken_connection() {
    let server = server();
    let error = download(&server, "shorter=500001,chunked").await.unwrap_err();
    assert!(
        matches!(error, FetchError::WrongSize { served: 700_000, .. }),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
    assert!(download(&server, "cut=700000,chunked;").await.unwrap() == payload());
}

#[tokio::test]
async fn redirects_are_followed_with_their_ranges() {
    let server = server();
    assert!(download(&server, "redirect=10").await.unwrap() == payload());
    let mut stream = reopen(&server, "redirect=2", Some("\"v1\"")).await.unwrap();
    assert!(read(&mut stream).await.unwrap() == payload()[400_000..]);
}

#[tokio::test]
async fn redirects_without_end_or_to_another_scheme_are_not_followed() {
    for faults in ["redirect=11", "redirect=loop"] {
        let server = server();
        match open(&server, faults).await.unwrap_err() {
            FetchError::Redirect { fault, .. } => assert_eq!(fault, RedirectFault::TooMany { limit: 10 }),
            other => panic!("{other}"),
        }
        assert_eq!(server.requests().len(), 11);
    }
    let error = open(&server(), "redirect=https").await.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is not followed: it leads from http to https"),
        "{error}"
    );
}

#[tokio::test]
async fn an_http_error_is_told_at_once_with_its_status() {
    for status in [404, 410, 500, 503] {
        let server = server();
        match open(&server, &format!("status={status}")).await.unwrap_err() {
            FetchError::Status { status: told, .. } => assert_eq!(told, status),
            other => panic!("{other}"),
        }
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn once_bytes_have_come_an_overloaded_server_is_waited_for_but_a_lost_file_is_not() {
    let server = server();
    let faults = "cut=500000;status=503;status=429;hangup;";
    assert!(download(&server, faults).await.unwrap() == payload());
    let error = download(&server, "cut=500000;status=404").await.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_again() {
    let server = server();
    assert!(download(&server, "hangup;hangup;hangup;").await.unwrap() == payload());
    assert_eq!(ranges(&server.requests()), [None; 4]);

    let error = open(&server, "hangup").await.unwrap_err();
    assert!(matches!(error, FetchError::NoAnswer { tries: 4, .. }), "{error}");

    let interactive = FetchSettings {
        no_answer_delay: Duration::ZERO,
        ..FetchSettings::interactive()
    };
    let error = Fetcher::new(interactive)
        .open(request(&server, "hangup,"))
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::NoAnswer { tries: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_file_is_handed_to_a_server_that_must_take_it() {
    let server = server();
    let fetcher = Fetcher::new(settings());
    let url = server.url("hangup;/update.gz");
    fetcher
        .post(&url, "application/octet-stream", vec![1, 2, 3])
        .await
        .unwrap();
    let requests = server.requests();
    assert_eq!((requests.len(), &requests[1].method[..]), (2, "POST"));
    assert_eq!(
        requests[1].header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(requests[1].body, [1, 2, 3]);

    let url = server.url("status=500/update.gz");
    let error = fetcher
        .post(&url, "application/octet-stream", vec![])
        .await
        .unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 500, .. }), "{error}");
}
