//! Downloads of one file from several URLs.

use std::num::NonZeroU64;
use std::time::Duration;

use update_engine::fetch::{FetchError, FetchRequest, FetchSettings, Fetcher};

use super::{download, impatient, payload, read, request, server, settings};

/// Whether it is another file, its hashes say: mirrors behind one name call the same bytes
/// differently.
#[tokio::test]
async fn a_download_goes_on_whatever_the_file_is_called_by_the_next_mirror() {
    for second in ["other-etag", "other-etag,no-range", "no-etag", "no-range,no-etag"] {
        let server = server();
        let all = download(&server, &format!("cut=500000;{second}")).await;
        assert!(all.unwrap() == payload(), "{second}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_url_that_has_no_payload_lets_the_next_one_try() {
    let server = server();
    for (first, asked) in [
        ("status=404", 2),
        ("status=403", 2),
        ("status=410;", 2),
        ("cut=500000;status=404", 3),
    ] {
        let before = server.requests().len();
        let request = FetchRequest {
            fallbacks: vec![server.url("update.gz")],
            ..request(&server, first)
        };
        let mut stream = Fetcher::new(settings()).open(request).await.unwrap();
        assert!(read(&mut stream).await.unwrap() == payload(), "{first}");
        assert_eq!(server.requests().len() - before, asked, "{first}");
    }
    // Another status says nothing about other URLs, and the last URL's error is the attempt's.
    for (first, second, status) in [("status=500", "", 500), ("status=404", "status=403/", 403)] {
        let request = FetchRequest {
            fallbacks: vec![server.url(&format!("{second}update.gz"))],
            ..request(&server, first)
        };
        let error = Fetcher::new(settings()).open(request).await.unwrap_err();
        assert_eq!(error.status(), Some(status), "{first}: {error}");
    }
}

#[tokio::test]
async fn a_url_that_takes_over_has_all_its_resumptions_and_one_that_is_none_is_passed_over() {
    let server = server();
    let settings = FetchSettings {
        resumes: 2,
        ..settings()
    };
    let fetched = async |first: &str, fallbacks: Vec<String>| {
        let request = FetchRequest {
            fallbacks,
            ..request(&server, first)
        };
        let mut stream = Fetcher::new(settings.clone()).open(request).await?;
        read(&mut stream).await
    };
    // Two cuts, and then it is gone; the next one has two cuts, too.
    let next = server.url("cut=300000;cut=300000;/update.gz");
    let all = fetched("cut=300000;cut=300000;status=404", vec![next]).await;
    assert!(all.unwrap() == payload());

    let none = || "ftp://host/update.gz".to_owned();
    let all = fetched("status=404", vec![none(), server.url("update.gz")]).await;
    assert!(all.unwrap() == payload());
    // What the server said is the attempt's error.
    let error = fetched("status=404", vec![none()]).await.unwrap_err();
    assert_eq!(error.status(), Some(404), "{error}");
}

#[tokio::test]
async fn a_first_url_that_is_none_is_passed_over_as_any_other() {
    let server = server();
    for none in ["ftp://host/update.gz", "host/update.gz", "http:///update.gz", ""] {
        let fetched = async |fallbacks: Vec<String>| {
            let request = FetchRequest {
                url: none.to_owned(),
                fallbacks,
                ..request(&server, "")
            };
            let mut stream = Fetcher::new(settings()).open(request).await?;
            read(&mut stream).await
        };
        let all = fetched(vec![none.to_owned(), server.url("update.gz")]).await;
        assert!(all.unwrap() == payload(), "{none}");
        let error = fetched(Vec::new()).await.unwrap_err();
        assert!(matches!(error, FetchError::Url(_)), "{error}");
    }
}

/// The first server brings nothing from byte 500,000 on, however often it is asked; the second all.
#[tokio::test]
async fn a_server_below_the_floor_gives_way_to_the_next_url_and_the_download_goes_on_there() {
    let slow = server();
    let fast = server();
    let settings = FetchSettings {
        floor: NonZeroU64::new(16 << 10),
        floor_window: Duration::from_secs(1),
        ..impatient()
    };
    let fetched = |fallbacks: Vec<String>| {
        let request = FetchRequest {
            fallbacks,
            ..request(&slow, "hold=500000")
        };
        let fetcher = Fetcher::new(settings.clone());
        async move {
            let mut stream = fetcher.open(request).await?;
            read(&mut stream).await
        }
    };
    assert!(fetched(vec![fast.url("update.gz")]).await.unwrap() == payload());
    assert_eq!(fast.requests()[0].header("range"), Some("bytes=500000-"));
    match fetched(Vec::new()).await.unwrap_err() {
        FetchError::TooSlow { offset: 500_000, .. } => {}
        other => panic!("{other}"),
    }
}
