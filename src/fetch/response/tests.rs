#![allow(clippy::unwrap_used)]

use super::*;

const ETAG: (&str, &str) = ("etag", "\"v1\"");

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()))
        .collect()
}

/// Asks for bytes from 400 of 1000, known as "v1".
fn resumed(status: u16, pairs: &[(&'static str, &'static str)]) -> Result<Part, FetchError> {
    let entity = Entity::parse("\"v1\"");
    let asked = Asked {
        url: "http://h/p",
        start: 400,
        end: None,
        size: 1000,
        entity: entity.as_ref(),
    };
    judge(StatusCode::from_u16(status).unwrap(), &headers(pairs), &asked)
}

fn fresh(status: u16, pairs: &[(&'static str, &'static str)]) -> Result<Part, FetchError> {
    let asked = Asked {
        url: "http://h/p",
        start: 0,
        end: None,
        size: 1000,
        entity: None,
    };
    judge(StatusCode::from_u16(status).unwrap(), &headers(pairs), &asked)
}

#[test]
fn the_part_asked_for_is_accepted() {
    let pairs = [
        ("content-range", "bytes 400-999/1000"),
        ("content-length", "600"),
        ETAG,
    ];
    let part = Part {
        start: 400,
        entity: Entity::parse("\"v1\""),
        ending: Ending::Counted,
    };
    assert_eq!(resumed(206, &pairs).unwrap(), part);
    // The entity may be named once only, the total be unknown, the length be left out, and a part
    // be shorter.
    assert_eq!(resumed(206, &pairs[..2]).unwrap(), part);
    let open = Part {
        ending: Ending::Open,
        ..part
    };
    assert_eq!(
        resumed(206, &[("content-range", "bytes 400-999/*")]).unwrap(),
        open
    );
    assert_eq!(
        resumed(206, &[("content-range", "bytes 400-499/1000")]).unwrap(),
        open
    );
}

#[test]
fn another_part_is_refused() {
    for range in [
        "bytes 0-999/1000",
        "bytes 401-999/1000",
        "bytes 400-1000/1000",
        "bytes 400-399/1000",
        "bytes 400-18446744073709551616/1000",
        "bytes +400-999/1000",
        "bytes 400-999",
        "items 400-999/1000",
        "",
    ] {
        match resumed(206, &[("content-range", range)]).unwrap_err() {
            FetchError::WrongRange {
                start: 400, answer, ..
            } => assert_eq!(answer, range),
            other => panic!("{range}: {other}"),
        }
    }
    let two = [("content-range", "bytes 400-999/1000"), ("content-length", "601")];
    assert!(matches!(resumed(206, &two), Err(FetchError::WrongRange { .. })));
    assert!(matches!(resumed(206, &[]), Err(FetchError::WrongRange { .. })));
}

#[test]
fn another_size_is_refused_before_the_first_byte() {
    let error = fresh(200, &[("content-length", "1001")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "http://h/p is 1001 bytes long, the offered payload 1000"
    );
    let range = [("content-range", "bytes 400-2047/2048")];
    assert!(matches!(
        resumed(206, &range),
        Err(FetchError::WrongSize { served: 2048, .. })
    ));
    let range = [("content-range", "bytes */300")];
    assert!(matches!(
        resumed(416, &range),
        Err(FetchError::WrongSize { served: 300, .. })
    ));
    let range = [("content-range", "bytes */1000")];
    assert!(matches!(resumed(416, &range), Err(FetchError::WrongRange { .. })));
}

#[test]
fn a_whole_file_starts_at_0_whatever_was_asked_for() {
    let part = resumed(200, &[("content-length", "1000"), ETAG]).unwrap();
    assert_eq!((part.start, part.ending), (0, Ending::Counted));
    assert_eq!(
        fresh(200, &[("transfer-encoding", "chunked")]).unwrap().ending,
        Ending::WholeFile
    );
    assert_eq!(fresh(200, &[]).unwrap().ending, Ending::Open);
}

#[test]
fn a_part_of_a_file_by_another_name_is_accepted_since_mirrors_differ() {
    let pairs = [("content-range", "bytes 400-999/1000"), ("etag", "\"v2\"")];
    let part = resumed(206, &pairs).unwrap();
    assert_eq!(part.entity.unwrap().as_str(), "\"v2\"");
}

#[test]
fn any_other_status_is_an_error_with_its_number() {
    for status in [201, 204, 304, 404, 503] {
        let error = fresh(status, &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("http://h/p answers {status}")),
            "{error}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_server_says_a_part_starts_where_asked_or_at_0(
        status in proptest::sample::select(vec![200_u16, 206, 416]),
        range in "(bytes )?[0-9*+-]{0,4}-?[0-9]{0,4}/?(1000|[0-9*]{0,20})",
        length in "[0-9]{0,20}",
    ) {
        let headers = [("content-range", range), ("content-length", length)];
        let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        let asked = Asked { url: "http://h/p", start: 400, end: None, size: 1000, entity: None };
        if let Ok(part) = judge(StatusCode::from_u16(status).unwrap(), &headers, &asked) {
            proptest::prop_assert_eq!(part.start, if status == 200 { 0 } else { 400 });
        }
    }
}

#[test]
fn of_a_part_nothing_else_is_taken() {
    let asked = Asked {
        url: "http://h/p",
        start: 0,
        end: Some(400),
        size: 1000,
        entity: None,
    };
    let judged = |status: u16, pairs: &[(&'static str, &'static str)]| {
        judge(StatusCode::from_u16(status).unwrap(), &headers(pairs), &asked)
    };
    for range in ["bytes 0-399/1000", "bytes 0-99/1000", "bytes 0-399/*"] {
        assert_eq!(
            judged(206, &[("content-range", range)]).unwrap().start,
            0,
            "{range}"
        );
    }
    for range in ["bytes 0-400/1000", "bytes 0-999/1000", "bytes 1-399/1000"] {
        let judged = judged(206, &[("content-range", range)]);
        assert!(matches!(judged, Err(FetchError::WrongRange { .. })), "{range}");
    }
    let whole = judged(200, &[("content-length", "1000")]);
    assert!(matches!(whole, Err(FetchError::NoRanges { .. })), "{whole:?}");
}
