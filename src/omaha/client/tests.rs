#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::*;

/// A server that answers one connection after the other with the next of its lines and keeps what it was
/// asked.
struct Script {
    address: String,
    requests: mpsc::Receiver<String>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::channel();
        let answers: Vec<_> = answers.into_iter().collect();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = sender.send(read_request(&mut stream));
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.requests.try_iter().collect()
    }
}

/// Reads the head, and the body that it promises; an empty text if the peer left.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return String::new();
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8(request.clone()).unwrap().to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    request.extend(body);
    String::from_utf8(request).unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn redirect(status: u16, target: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n")
}

async fn post(url: &str, retries: Retries) -> Result<String, PostError> {
    let client = Client {
        retry_after: RETRY,
        ..Client::default()
    };
    let reply = client.post(url, "<request/>".to_owned(), retries).await?;
    Ok(String::from_utf8(reply.body).unwrap())
}

/// In the place of ten seconds.
const RETRY: Duration = Duration::from_millis(20);

fn behind(variable: &str, proxy: &str) -> Client {
    Client::new(Proxies::read(|name| (name == variable).then(|| proxy.into())))
}

#[tokio::test]
async fn a_request_has_no_more_headers_than_the_original_sends() {
    let server = Script::new([ok("<response/>")]);
    let body = post(&server.url("/v1/update/"), Retries::None).await.unwrap();
    assert_eq!(body, "<response/>");
    let request = server.asked().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().map(str::to_ascii_lowercase).collect();
    lines.sort();
    let host = format!("host: {}", server.address);
    assert_eq!(
        lines,
        [
            "accept: */*",
            "content-length: 10",
            "content-type: text/xml",
            host.as_str(),
            "post /v1/update/ http/1.1"
        ]
    );
    assert_eq!(body, "<request/>");
}

#[tokio::test]
async fn a_status_that_is_no_success_is_an_error_with_its_code_and_is_not_retried() {
    for status in [400, 404, 500, 503] {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        let server = Script::new([answer, ok("a second answer")]);
        let error = post(&server.url("/"), Retries::Check(Trigger::Schedule))
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Http(HttpStatus::Status(status)));
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn between_two_tries_at_a_silent_server_lie_ten_seconds() {
    assert_eq!(Client::default().retry_after.as_secs(), 10);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_tried_again_as_often_as_was_asked() {
    for (retries, tries) in [
        (Retries::None, 1),
        (Retries::Check(Trigger::Operator), 2),
        (Retries::Check(Trigger::Schedule), 4),
    ] {
        let server = Script::new(std::iter::repeat_n(String::new(), 5));
        let start = std::time::Instant::now();
        let error = post(&server.url("/"), retries).await.unwrap_err();
        assert_eq!(error.code().number(), 2000, "{error}");
        assert_eq!(server.asked().len(), tries);
        assert!(start.elapsed() >= RETRY * (u32::try_from(tries).unwrap() - 1));
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<resp".to_owned();
    let server = Script::new([half, ok("whole")]);
    let body = post(&server.url("/"), Retries::Check(Trigger::Operator))
        .await
        .unwrap();
    assert_eq!(body, "whole");
}

#[tokio::test]
async fn a_redirect_is_followed_as_curl_follows_it() {
    for (status, method) in [
        (301, "GET"),
        (302, "GET"),
        (303, "GET"),
        (307, "POST"),
        (308, "POST"),
    ] {
        let server = Script::new([redirect(status, "/there"), ok("here")]);
        let body = post(&server.url("/"), Retries::None).await.unwrap();
        assert_eq!(body, "here");
        let second = server.asked().remove(1);
        assert!(second.starts_with(&format!("{method} /there ")), "{second}");
        assert_eq!(second.ends_with("<request/>"), method == "POST", "{second}");
    }
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_eleventh() {
    let hops = |count| std::iter::repeat_n(redirect(307, "/again"), count).chain([ok("here")]);
    let server = Script::new(hops(10));
    assert_eq!(post(&server.url("/"), Retries::None).await.unwrap(), "here");
    let server = Script::new(hops(11));
    let error = post(&server.url("/"), Retries::None).await.unwrap_err();
    assert!(error.to_string().ends_with("more than 10 redirects"), "{error}");
    assert_eq!(error.code().number(), 2307);
    assert_eq!(server.asked().len(), 11);
}

#[tokio::test]
async fn a_redirect_to_another_scheme_is_refused() {
    for (target, reason) in [
        ("https://127.0.0.1/", "it leads from http to https"),
        ("file:///etc/shadow", "it leads from http to file"),
        ("", "it says no target"),
        ("http://[", "its target \"http://[\" is no URL"),
    ] {
        let server = Script::new([redirect(302, target)]);
        let error = post(&server.url("/"), Retries::None).await.unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(error.code().number(), 2302);
    }
}

#[tokio::test]
async fn an_answer_without_end_is_refused_at_a_megabyte() {
    let long = "x".repeat(MAX_ANSWER);
    let server = Script::new([format!("HTTP/1.1 200 OK\r\n\r\n{long}"), ok(&(long + "x"))]);
    assert_eq!(
        post(&server.url("/"), Retries::None).await.unwrap().len(),
        MAX_ANSWER
    );
    let error = post(&server.url("/"), Retries::None).await.unwrap_err();
    assert!(matches!(error, PostError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_password_in_the_servers_url_is_sent_and_never_told() {
    let server = Script::new(["HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".to_owned()]);
    let url = server
        .url("/?sig=signed")
        .replace("http://", "http://m%65:se%63ret@");
    let error = post(&url, Retries::None).await.unwrap_err();
    for secret in ["secret", "signed", "se%63ret"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    let request = server.asked().remove(0).to_ascii_lowercase();
    assert!(
        request.contains("authorization: basic bwu6c2vjcmv0\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn what_is_no_http_url_is_refused_by_name() {
    for url in ["", "not a url", "file:///etc/passwd", "ftp://host/"] {
        let error = post(url, Retries::Check(Trigger::Schedule)).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{url:?}")), "{error}");
        assert_eq!(error.code().number(), 2000);
    }
}

#[tokio::test]
async fn an_http_proxy_is_asked_for_the_whole_url_of_a_server_whose_name_only_it_knows() {
    let proxy = Script::new([ok("by proxy")]);
    let address = proxy.address.replace("127.0.0.1", "me:secret@127.0.0.1");
    let client = behind("http_proxy", &address);
    let body = client
        .post(
            "http://update.invalid:8080/v1/update/",
            "<request/>".to_owned(),
            Retries::None,
        )
        .await;
    assert_eq!(body.unwrap().body, b"by proxy");
    let request = proxy.asked().remove(0);
    assert!(
        request.starts_with("POST http://update.invalid:8080/v1/update/ HTTP/1.1\r\n"),
        "{request}"
    );
    let lower = request.to_ascii_lowercase();
    assert!(lower.contains("\r\nhost: update.invalid:8080\r\n"), "{request}");
    assert!(
        lower.contains("\r\nproxy-authorization: basic bwu6c2vjcmv0\r\n"),
        "{request}"
    );
    assert!(request.ends_with("<request/>"), "{request}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel_and_shows_the_proxy_no_request() {
    let proxy = Script::new(["HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()]);
    let address = proxy.address.clone();
    let client = behind("ALL_PROXY", &address);
    let error = client
        .post(
            "https://update.invalid/v1/update/",
            "<request/>".to_owned(),
            Retries::None,
        )
        .await
        .unwrap_err();
    assert_eq!(error.code().number(), 2000);
    let request = proxy.asked().remove(0);
    assert!(
        request.starts_with("CONNECT update.invalid:443 HTTP/1.1\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn whoever_stops_waiting_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let request = tokio::spawn(async move { post(&url, Retries::Check(Trigger::Schedule)).await });
    let connected = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&mut stream);
        stream
    });
    let mut stream = connected.await.unwrap();
    request.abort();
    let read = tokio::task::spawn_blocking(move || stream.read(&mut [0]));
    assert_eq!(read.await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn an_answer_counts_even_if_the_request_was_never_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // A first byte, so that the close below comes while the request is on its way, as a reset.
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\n\nread me").unwrap();
    });
    // Longer than what two sockets buffer: it can't all be sent before the other end is gone.
    let document = "x".repeat(32 << 20);
    let body = Client::default().post(&url, document, Retries::None).await;
    assert_eq!(body.unwrap().body, b"read me");
}

/// Heads that break the rules of HTTP and that curl reads all the same, with what has to be the body behind them.
#[tokio::test]
async fn a_head_as_careless_as_curl_takes_it_is_an_answer() {
    let many = "X-Many: a\r\n".repeat(250);
    let long = format!("X-Long: {}\r\n", "a".repeat(90_000));
    for head in [
        "X Odd: a\r\n",
        "Server : a\r\n",
        "X-Folded: a\r\n b\r\n",
        "X-\u{e9}: a\r\n",
        "X-Value: \u{1}b\u{e9}\r\n",
        ": a\r\n",
        many.as_str(),
        long.as_str(),
    ] {
        for length in ["Content-Length: 11\r\n", "Content-Length : 11\r\n"] {
            let answer = format!("HTTP/1.1 200 OK\r\n{head}{length}\r\n<response/>");
            let server = Script::new([answer]);
            let shown: String = head.chars().take(30).collect();
            let body = post(&server.url("/"), Retries::None).await;
            assert_eq!(
                body.unwrap_or_else(|error| panic!("{shown:?}: {error:?}")),
                "<response/>"
            );
        }
    }
    // Not without end.
    let endless = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "a".repeat(1 << 20));
    assert!(
        post(&Script::new([endless]).url("/"), Retries::None)
            .await
            .is_err()
    );
}
