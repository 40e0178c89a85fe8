//! Downloads that an earlier one began.

use update_engine::fetch::{FetchError, FetchRequest, Fetcher};

use super::{download, payload, read, reopen, request, server, settings};

#[tokio::test]
async fn a_resumed_download_starts_where_it_was() {
    let server = server();
    let mut stream = reopen(&server, "", Some("\"v1\"")).await.unwrap();
    assert_eq!(stream.start(), 400_000);
    assert!(read(&mut stream).await.unwrap() == payload()[400_000..]);
    assert_eq!(server.requests()[0].header("range"), Some("bytes=400000-"));
    assert_eq!(server.requests()[0].header("if-range"), None);
}

#[tokio::test]
async fn a_resumed_download_goes_on_whatever_the_file_is_called_now() {
    let server = server();
    let mut stream = reopen(&server, "", Some("\"v0\"")).await.unwrap();
    assert_eq!(stream.start(), 400_000);
    assert_eq!(stream.entity().unwrap().as_str(), "\"v1\"");
    assert!(read(&mut stream).await.unwrap() == payload()[400_000..]);
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_rest_only_of_a_file_known_to_be_the_same() {
    let server = server();
    let mut stream = reopen(&server, "no-range", Some("\"v1\"")).await.unwrap();
    assert_eq!(stream.start(), 400_000);
    assert!(read(&mut stream).await.unwrap() == payload()[400_000..]);

    let mut stream = reopen(&server, "no-range", None).await.unwrap();
    assert_eq!(stream.start(), 0);
    assert!(read(&mut stream).await.unwrap() == payload());
}

#[tokio::test]
async fn a_wrong_range_never_reaches_the_payload() {
    let server = server();
    let mut stream = reopen(&server, "wrong-range", Some("\"v1\"")).await.unwrap();
    assert_eq!(stream.start(), 0);
    assert!(read(&mut stream).await.unwrap() == payload());

    let error = download(&server, "cut=500000;wrong-range").await.unwrap_err();
    let FetchError::WrongRange {
        start: 500_000,
        answer,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(answer, "bytes 500001-1200000/1200001");
}

#[tokio::test]
async fn a_download_that_was_complete_asks_nobody() {
    let server = server();
    let size = payload().len() as u64;
    let complete = FetchRequest {
        start: size,
        ..request(&server, "")
    };
    let mut stream = Fetcher::new(settings()).open(complete).await.unwrap();
    assert!(stream.next().await.is_none());
    let past = FetchRequest {
        start: size + 1,
        ..request(&server, "")
    };
    let error = Fetcher::new(settings()).open(past).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot go on at byte 1200002 of a payload of 1200001 bytes"
    );
    assert!(server.requests().is_empty());
}
