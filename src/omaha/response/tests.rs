#![allow(clippy::unwrap_used, reason = "a test may")]

use super::super::offer::{Backoff, PayloadKind};
use super::*;

const FLATCAR_UPDATE: &str = include_str!("../../../tests/fixtures/omaha/response-flatcar-update.xml");

fn offer(xml: &str) -> Offer {
    match Response::parse(xml.as_bytes()).unwrap().answer {
        CheckAnswer::Offer(offer) => offer,
        CheckAnswer::NoUpdate => panic!("no offer in {xml}"),
    }
}

fn refusal(xml: impl AsRef<[u8]>) -> (u32, String) {
    let error = Response::parse(xml.as_ref()).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    (error.code().number(), text)
}

fn replaced(from: &str, to: &str) -> String {
    assert!(FLATCAR_UPDATE.contains(from), "{from}");
    FLATCAR_UPDATE.replacen(from, to, 1)
}

#[test]
fn the_answer_of_the_flatcar_update_script_is_an_offer() {
    let offer = offer(FLATCAR_UPDATE);
    assert_eq!(offer.version, "9999.0.0");
    assert_eq!(offer.urls, ["http://localhost:9091/flatcar_production_update.gz"]);
    assert_eq!(offer.size, 2_514_292);
    assert_eq!(
        offer.sha256_base64(),
        "dsemWyLpPl6R4+e1GzCmj+BwZTEWBfHtsxhaisQtezE="
    );
    assert_eq!(offer.kind, PayloadKind::Full);
    assert_eq!(offer.backoff, Backoff::Disabled);
    assert_eq!(offer.max_failures_per_url, 10);
    assert_eq!(offer.metadata, None);
}

#[test]
fn an_empty_manifest_version_is_an_offer_like_any_other() {
    let xml = replaced("<manifest version=\"9999.0.0\">", "<manifest version=\"\">");
    assert_eq!(offer(&xml).version, "");
}

#[test]
fn a_codebase_without_a_slash_gets_one_and_all_urls_are_kept_in_order() {
    let xml = replaced(
        "<url codebase=\"http://localhost:9091/\"></url>",
        "<url codebase=\"https://a/b?c=1&amp;d=2\"/><url codebase=\"http://e/\"/>",
    );
    assert_eq!(
        offer(&xml).urls,
        [
            "https://a/b?c=1&d=2/flatcar_production_update.gz",
            "http://e/flatcar_production_update.gz"
        ]
    );
}

#[test]
fn the_postinstall_action_says_what_the_payload_is() {
    let xml = replaced(
        "DisablePayloadBackoff=\"true\"",
        "IsDeltaPayload='true' DisablePayloadBackoff=\"TRUE\" MaxFailureCountPerUrl=\"3\" MetadataSize=\"1090\"",
    );
    let offer = offer(&xml);
    assert_eq!(offer.kind, PayloadKind::Delta);
    assert_eq!(offer.backoff, Backoff::Enabled);
    assert_eq!(offer.max_failures_per_url, 3);
    assert_eq!(offer.metadata, None, "a size alone proves nothing");
}

#[test]
fn a_metadata_signature_is_a_claim_to_check() {
    let xml = replaced(
        "DisablePayloadBackoff=\"true\"",
        "MetadataSize=\"1090\" MetadataSignatureRsa=\"AQID\"",
    );
    let claim = offer(&xml).metadata.unwrap();
    assert_eq!((claim.size, claim.signature), (1090, vec![1, 2, 3]));
    let broken = replaced("DisablePayloadBackoff=\"true\"", "MetadataSignatureRsa=\"AQID\"");
    assert_eq!(refusal(&broken).0, 34);
}

#[test]
fn no_update_may_come_with_a_poll_interval() {
    for (attribute, expected) in [
        ("", None),
        (" PollInterval=\"0\"", None),
        (" PollInterval=\"-5\"", None),
        (" PollInterval=\"7200\"", Some(Duration::from_secs(7200))),
    ] {
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><app><updatecheck status=\"noupdate\"{attribute}/></app></response>"
        );
        let response = Response::parse(xml.as_bytes()).unwrap();
        assert_eq!(response.answer, CheckAnswer::NoUpdate);
        assert_eq!(response.poll_interval, expected);
    }
}

#[test]
fn a_refusing_server_is_quoted() {
    let xml = "<response><app status=\"error-maxUpdatesPerPeriodLimitReached\"><updatecheck status=\"error-internal\"/></app></response>";
    let (code, text) = refusal(xml);
    assert_eq!(code, 34);
    assert!(text.contains("error-maxUpdatesPerPeriodLimitReached"), "{text}");
}

#[test]
fn what_is_no_xml_is_31_and_what_is_nothing_is_30() {
    let deep = "<a>".repeat(40);
    let many = format!("<r>{}</r>", "<a/>".repeat(10_001));
    let cases = [
        ("", 30, "empty"),
        ("garbage", 31, "outside the root"),
        ("  \n", 31, "no root"),
        ("<response><app></response>", 31, "no XML"),
        ("<response><app>", 31, "ends inside <app>"),
        ("<a/><b/>", 31, "more than one root"),
        ("<a/>tail", 31, "outside the root"),
        ("<a b=\"1\" b=\"2\"/>", 31, "malformed attribute in <a>"),
        ("<a b=\"&bomb;\"/>", 31, "malformed attribute in <a>"),
        (deep.as_str(), 31, "nested"),
        (many.as_str(), 31, "more than 10000"),
    ];
    for (xml, code, text) in cases {
        let (got, message) = refusal(xml);
        assert_eq!(got, code, "{xml:.40}: {message}");
        assert!(message.contains(text), "{xml:.40}: {message}");
    }
    assert_eq!(
        Response::parse(b"<a b=\"\xff\"/>").unwrap_err().code().number(),
        31
    );
}

#[test]
fn an_offer_that_lacks_something_is_34_and_says_what() {
    let cases = [
        ("<url codebase=\"http://localhost:9091/\"></url>", "", "no <url>"),
        (
            "codebase=\"http://localhost:9091/\"",
            "codebase=\"\"",
            "<url> has no codebase",
        ),
        (
            "name=\"flatcar_production_update.gz\"",
            "",
            "<package> has no name",
        ),
        ("size=\"2514292\"", "size=\"0\"", "\"0\""),
        ("size=\"2514292\"", "size=\"-1\"", "\"-1\""),
        (
            "size=\"2514292\"",
            "size=\"9223372036854775808\"",
            "9223372036854775808",
        ),
        (
            "event=\"postinstall\"",
            "event=\"update\"",
            "for event postinstall",
        ),
        (
            "sha256=\"dsemWyLpPl6R4+e1GzCmj+BwZTEWBfHtsxhaisQtezE=\"",
            "",
            "no sha256",
        ),
        ("dsemWyLp", "dsem", "not 32 bytes"),
        ("<packages>", "<packages/><p>", "no XML"),
        ("status=\"ok\"><urls>", "><urls>", "refuses"),
    ];
    for (from, to, text) in cases {
        let (code, message) = refusal(replaced(from, to));
        assert!(message.contains(text), "{from} -> {to}: {message}");
        assert!(code == 34 || text == "no XML", "{message}");
    }
    assert_eq!(refusal("<other/>").0, 34);
    assert_eq!(
        refusal("<response><app status=\"error-unknownApplication\"/></response>").0,
        34
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..512)) {
        let _ = Response::parse(&body);
    }

    #[test]
    fn no_damage_to_a_real_answer_makes_it_panic(at in 0..FLATCAR_UPDATE.len(), byte in proptest::prelude::any::<u8>()) {
        let mut body = FLATCAR_UPDATE.as_bytes().to_vec();
        body[at] = byte;
        let _ = Response::parse(&body);
    }
}

#[test]
fn words_that_would_break_a_status_line_or_flood_the_bus_are_refused() {
    let version = |version: &str| replaced("version=\"9999.0.0\"", &format!("version=\"{version}\""));
    let longest = "9".repeat(1024);
    assert_eq!(offer(&version(&longest)).version, longest);
    let too_long = "9".repeat(1025);
    let forged = "1&#10;CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT";
    for text in [too_long.as_str(), forged, "1\0", "1&#x7f;"] {
        let (code, reason) = refusal(version(text));
        assert_eq!(code, 34, "{reason}");
        assert!(
            reason.contains("the offer's <manifest> has a version"),
            "{reason}"
        );
    }
    let name = "flatcar_production_update.gz";
    let (code, reason) = refusal(replaced(name, &"n".repeat(1025)));
    assert_eq!(code, 34);
    assert!(reason.contains("the offer's <package> has a name"), "{reason}");
}

#[test]
fn what_the_original_does_not_read_spoils_nothing() {
    // go-omaha writes the SHA-256 in base64 where others write hexadecimal digits.
    let plain = offer(FLATCAR_UPDATE);
    let decorated = replaced(
        "hash=\"Yt3h6SgRkunsKswhVqveNNefe5g=\"  size",
        "hash=\"?\" hash_sha256=\"dsemWyLpPl6R4+e1GzCmj+BwZTEWBfHtsxhaisQtezE=\" fp=\"\" size",
    )
    .replace(
        "DisablePayloadBackoff=\"true\"",
        "DisablePayloadBackoff=\"true\" DisplayVersion=\"x\" needsadmin=\"maybe\" deadline=\"now\" ChromeOSVersion=\"\"",
    )
    .replace("<manifest version", "<manifest is_floor=\"true\" floor_reason=\"r\" version");
    assert_eq!(offer(&decorated), plain);
}

#[test]
fn an_answer_may_be_in_another_encoding_that_it_names() {
    let named = |name: &str| {
        let version = "<manifest version=\"Größe €\">";
        let answer = replaced("<manifest version=\"9999.0.0\">", version);
        format!("<?xml version='1.0' encoding = '{name}' ?>{answer}")
    };
    let offered = |bytes: &[u8]| match Response::parse(bytes).unwrap().answer {
        CheckAnswer::Offer(offer) => offer.version,
        CheckAnswer::NoUpdate => panic!("no offer"),
    };
    let text = named("UTF-16");
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [
        named("utf-8").into_bytes(),
        ["\u{feff}", &named("UTF-8")].concat().into_bytes(),
        // By what writes a text and sends it as something else.
        text.clone().into_bytes(),
        [&b"\xff\xfe"[..], &little].concat(),
        [&b"\xfe\xff"[..], &big].concat(),
        little.clone(),
        big,
    ] {
        assert_eq!(offered(&bytes), "Größe €");
    }
    let latin = named("iso-8859-1").replace(" €", "");
    let latin: Vec<u8> = latin.chars().map(|c| u8::try_from(c).unwrap()).collect();
    assert_eq!(offered(&latin), "Größe");
    // ASCII is ASCII.
    let plain = format!("<?xml version=\"1.0\" encoding=\"windows-1252\"?>{FLATCAR_UPDATE}");
    assert_eq!(offered(plain.as_bytes()), "9999.0.0");

    let declaration = latin.iter().position(|byte| *byte == b'>').unwrap();
    let half = [&b"\xff\xfe"[..], &little[..100], b"\x00\xd8"].concat();
    for (bytes, told) in [
        (
            named("windows-1252").as_bytes(),
            "in the encoding \"windows-1252\"",
        ),
        (&latin[declaration + 1..], "is not UTF-8"),
        (&little[..little.len() - 1], "is not UTF-16"),
        (&half, "is not UTF-16"),
    ] {
        let (code, error) = refusal(bytes);
        assert!(code == 31 && error.contains(told), "{code} {error}");
    }
}
