//! The rules of the network, held against curl: which proxy, which host without one, which address.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use update_engine::fetch::{FetchError, FetchRequest, FetchSettings, Fetcher};
use update_engine::net::{Proxies, ProxyScheme, ServerUrl};
use update_engine::omaha::{Client, Patience, PostError};

use crate::support::environment_rerun::{again, message};
use crate::support::server::Server;

/// How a server was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Http,
    Https,
    Socks4,
    Socks4a,
    Socks5,
    Socks5h,
    /// Nobody was asked.
    Refused,
}

/// A setting, a URL, the way, and whether the installed curl is asked too. `!` is the address of the proxy, `@` the
/// server's port.
type Row = (&'static [(&'static str, &'static str)], &'static str, Way, Curl);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curl {
    Agrees,
    /// It documents this, and versions before 8 do otherwise: they compare IPv6 addresses as texts.
    Documents,
}

use Curl::{Agrees, Documents};
use Way::{Direct, Http, Https, Refused, Socks4, Socks4a, Socks5, Socks5h};

macro_rules! no_proxy {
    ($($list:literal, $url:literal => $way:ident $curl:ident;)*) => {
        &[$((&[("http_proxy", "http://!"), ("no_proxy", $list)], $url, $way, $curl)),*]
    };
}

const NO_PROXY: &[Row] = no_proxy![
    "a.b", "http://a.b:@/" => Direct Agrees;
    "a.b", "http://x.a.b:@/" => Direct Agrees;
    "b", "http://a.b:@/" => Direct Agrees;
    ".a.b", "http://a.b:@/" => Direct Agrees;
    ".a.b", "http://x.a.b:@/" => Direct Agrees;
    "..a.b", "http://a.b:@/" => Http Agrees;
    "*.a.b", "http://x.a.b:@/" => Http Agrees;
    "*.a.b", "http://a.b:@/" => Http Agrees;
    "a.b", "http://xa.b:@/" => Http Agrees;
    "A.b", "http://a.B:@/" => Direct Agrees;
    "a.b.", "http://a.b:@/" => Direct Agrees;
    "a.b", "http://a.b.:@/" => Direct Agrees;
    ".", "http://a.b:@/" => Http Agrees;
    "c, a.b", "http://a.b:@/" => Direct Agrees;
    "c a.b", "http://a.b:@/" => Direct Agrees;
    "c\ta.b", "http://a.b:@/" => Direct Agrees;
    "c ,  ,, a.b", "http://a.b:@/" => Direct Agrees;
    ",a.b", "http://a.b:@/" => Direct Agrees;
    "a.b;c", "http://a.b:@/" => Http Agrees;
    "*", "http://a.b:@/" => Direct Agrees;
    "*", "http://127.0.0.1:@/" => Direct Agrees;
    "*", "http://[::1]:@/" => Direct Agrees;
    "c,*", "http://a.b:@/" => Http Agrees;
    "*,c", "http://a.b:@/" => Http Agrees;
    "", "http://a.b:@/" => Http Agrees;
    ",", "http://a.b:@/" => Http Agrees;
    "a.b:@", "http://a.b:@/" => Http Agrees;
    "a.b/24", "http://a.b:@/" => Http Agrees;
    "127.0.0.1", "http://127.0.0.1:@/" => Direct Agrees;
    "127.0.0.1:@", "http://127.0.0.1:@/" => Http Agrees;
    "127.0.0.2", "http://127.0.0.1:@/" => Http Agrees;
    "127.0.0.0/8", "http://127.0.0.1:@/" => Direct Agrees;
    "127.0.0.0/31", "http://127.0.0.1:@/" => Direct Agrees;
    "127.0.0.2/31", "http://127.0.0.1:@/" => Http Agrees;
    "127.0.0.1/32", "http://127.0.0.1:@/" => Direct Agrees;
    "127.0.0.1/33", "http://127.0.0.1:@/" => Http Agrees;
    "0.0.0.0/0", "http://127.0.0.1:@/" => Http Agrees;
    "127.0.0.0/x", "http://127.0.0.1:@/" => Http Agrees;
    "127", "http://127.0.0.1:@/" => Http Agrees;
    "0.0.1", "http://127.0.0.1:@/" => Http Agrees;
    "localhost", "http://127.0.0.1:@/" => Http Agrees;
    "127.0.0.1", "http://2130706433:@/" => Direct Agrees;
    "::1", "http://[::1]:@/" => Direct Agrees;
    "[::1]", "http://[::1]:@/" => Http Agrees;
    "::2", "http://[::1]:@/" => Http Agrees;
    "127.0.0.0/8", "http://[::1]:@/" => Http Agrees;
    "0::1", "http://[::1]:@/" => Direct Documents;
    "::/120", "http://[::1]:@/" => Direct Documents;
    "::2/127", "http://[::1]:@/" => Http Documents;
];

const VARIABLES: &[Row] = &[
    (&[("http_proxy", "http://!")], "http://a.b:@/", Http, Agrees),
    (&[("HTTP_PROXY", "http://!")], "http://a.b:@/", Direct, Agrees),
    (&[("all_proxy", "http://!")], "http://a.b:@/", Http, Agrees),
    (&[("ALL_PROXY", "http://!")], "http://a.b:@/", Http, Agrees),
    (&[("https_proxy", "http://!")], "https://a.b:@/", Http, Agrees),
    (&[("HTTPS_PROXY", "http://!")], "https://a.b:@/", Http, Agrees),
    (&[("https_proxy", "http://!")], "http://a.b:@/", Direct, Agrees),
    (&[("http_proxy", "http://!")], "https://a.b:@/", Direct, Agrees),
    (
        &[("http_proxy", ""), ("all_proxy", "http://!")],
        "http://a.b:@/",
        Http,
        Agrees,
    ),
    (
        &[("https_proxy", ""), ("HTTPS_PROXY", "http://!")],
        "https://a.b:@/",
        Http,
        Agrees,
    ),
    (
        &[("https_proxy", "socks5h://!"), ("HTTPS_PROXY", "http://!")],
        "https://a.b:@/",
        Socks5h,
        Agrees,
    ),
    (
        &[("all_proxy", "socks5h://!"), ("ALL_PROXY", "http://!")],
        "https://a.b:@/",
        Socks5h,
        Agrees,
    ),
    (
        &[("http_proxy", "socks5h://!"), ("ALL_PROXY", "http://!")],
        "http://a.b:@/",
        Socks5h,
        Agrees,
    ),
    (
        &[("all_proxy", "http://!"), ("NO_PROXY", "a.b")],
        "http://a.b:@/",
        Direct,
        Agrees,
    ),
    (
        &[("all_proxy", "http://!"), ("NO_PROXY", "a.b"), ("no_proxy", "c")],
        "http://a.b:@/",
        Http,
        Agrees,
    ),
    (
        &[("all_proxy", "http://!"), ("NO_PROXY", "a.b"), ("no_proxy", "")],
        "http://a.b:@/",
        Direct,
        Agrees,
    ),
    (
        &[("all_proxy", "ftp://!"), ("NO_PROXY", "a.b")],
        "http://a.b:@/",
        Direct,
        Agrees,
    ),
];

const SCHEMES: &[Row] = &[
    (&[("http_proxy", "!")], "http://localhost:@/", Http, Agrees),
    (&[("http_proxy", "u:p@!")], "http://localhost:@/", Http, Agrees),
    (
        &[("http_proxy", "HTTP://!/")],
        "http://localhost:@/",
        Http,
        Agrees,
    ),
    (
        &[("http_proxy", "http://u%40:p%3a@!/x?y#z")],
        "http://localhost:@/",
        Http,
        Agrees,
    ),
    (
        &[("http_proxy", "https://!")],
        "http://localhost:@/",
        Https,
        Agrees,
    ),
    (
        &[("http_proxy", "socks://!")],
        "http://localhost:@/",
        Socks4,
        Agrees,
    ),
    (
        &[("http_proxy", "socks4://!")],
        "http://localhost:@/",
        Socks4,
        Agrees,
    ),
    (
        &[("http_proxy", "socks4a://!")],
        "http://localhost:@/",
        Socks4a,
        Agrees,
    ),
    (
        &[("http_proxy", "socks5://!")],
        "http://localhost:@/",
        Socks5,
        Agrees,
    ),
    (
        &[("http_proxy", "SOCKS5h://!")],
        "http://localhost:@/",
        Socks5h,
        Agrees,
    ),
    (
        &[("http_proxy", "ftp://!")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (
        &[("http_proxy", "quic://!")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (
        &[("http_proxy", "http:!")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (&[("http_proxy", "//!")], "http://localhost:@/", Refused, Agrees),
    (
        &[("http_proxy", "http://")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (
        &[("http_proxy", " http://!")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (
        &[("http_proxy", "http://! ")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
    (
        &[("http_proxy", "http://127.0.0.1:99999")],
        "http://localhost:@/",
        Refused,
        Agrees,
    ),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    [NO_PROXY, VARIABLES, SCHEMES].into_iter().flatten()
}

/// A proxy and a server that tell how they were asked, and then hang up.
struct Listeners {
    proxy: SocketAddr,
    server: u16,
    seen: Arc<Mutex<Vec<Way>>>,
}

impl Listeners {
    fn start() -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let listen = |is_proxy: bool| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let (address, seen) = (listener.local_addr().unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let way = if is_proxy { told(&mut stream) } else { Direct };
                    seen.lock().unwrap().push(way);
                    let _ = stream.write_all(b"HTTP/1.1 502 Seen\r\nContent-Length: 0\r\n\r\n");
                }
            });
            address
        };
        let (proxy, server) = (listen(true), listen(false).port());
        Self { proxy, server, seen }
    }

    fn environment(&self, row: &Row) -> Vec<(&'static str, String)> {
        let (proxy, server) = (self.proxy.to_string(), self.server.to_string());
        let value = |text: &str| text.replace('!', &proxy).replace("b:@", &format!("b:{server}"));
        row.0.iter().map(|(name, text)| (*name, value(text))).collect()
    }

    fn url(&self, row: &Row) -> String {
        row.1.replace('@', &self.server.to_string())
    }

    /// How the server was reached since the last time; none if nobody was asked.
    fn way(&self) -> Option<Way> {
        self.seen.lock().unwrap().drain(..).next()
    }
}

/// What a client speaks to a proxy.
fn told(stream: &mut TcpStream) -> Way {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = [0; 512];
    let count = stream.read(&mut bytes).unwrap_or(0);
    match &bytes[..count] {
        [0x16, ..] => Https,
        [4, 1, _, _, 0, 0, 0, 1..=255, ..] => Socks4a,
        [4, ..] => Socks4,
        [5, ..] => {
            stream.write_all(&[5, 0]).unwrap();
            let _ = stream.read(&mut bytes);
            if bytes[3] == 3 { Socks5h } else { Socks5 }
        }
        _ => Http,
    }
}

/// Which way curl goes. It finds every name at 127.0.0.1.
fn by_curl(listeners: &Listeners, row: &Row) -> Way {
    let url = listeners.url(row);
    let host = ServerUrl::parse(&url).unwrap().to_string();
    let host = host
        .split("//")
        .nth(1)
        .unwrap()
        .rsplit_once(':')
        .unwrap()
        .0
        .to_owned();
    let mut curl = Command::new("curl");
    curl.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    curl.envs(listeners.environment(row));
    curl.args([
        "--silent",
        "--globoff",
        "--max-time",
        "20",
        "--output",
        "/dev/null",
    ]);
    if !host.starts_with('[') {
        curl.args(["--resolve", &format!("{host}:{}:127.0.0.1", listeners.server)]);
    }
    let status = curl.arg(&url).status().expect("curl is installed");
    listeners
        .way()
        .unwrap_or_else(|| match (status.code(), host.as_str()) {
            // Nobody listens there.
            (Some(7), "[::1]") => Direct,
            (Some(5 | 7), _) => Refused,
            other => panic!("curl with {row:?}: {other:?}"),
        })
}

fn proxies(listeners: &Listeners, row: &Row) -> Proxies {
    let environment = listeners.environment(row);
    Proxies::read(|name| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

/// Which way we say that we go.
fn by_rule(listeners: &Listeners, row: &Row) -> Way {
    let url = ServerUrl::parse(&listeners.url(row)).unwrap();
    match proxies(listeners, row).for_url(&url) {
        Err(_) => Refused,
        Ok(None) => Direct,
        Ok(Some(proxy)) => match proxy.scheme {
            ProxyScheme::Http => Http,
            ProxyScheme::Https => Https,
            ProxyScheme::Socks4 => Socks4,
            ProxyScheme::Socks4a => Socks4a,
            ProxyScheme::Socks5 => Socks5,
            ProxyScheme::Socks5h => Socks5h,
        },
    }
}

#[tokio::test]
async fn every_server_is_reached_the_way_that_curl_takes() {
    let listeners = Listeners::start();
    for row in rows() {
        let (_, url, way, curl) = row;
        if *curl == Agrees {
            assert_eq!(by_curl(&listeners, row), *way, "curl: {row:?}");
        }
        assert_eq!(by_rule(&listeners, row), *way, "{row:?}");
        // And so it is done, where the name is one that is found here.
        if *way == Direct && url.contains("a.") || url.contains('[') {
            continue;
        }
        let client = Client::new(proxies(&listeners, row));
        let asked = client
            .post(&listeners.url(row), String::new(), Patience::None)
            .await;
        let is_refused = matches!(asked, Err(PostError::Unaskable { .. }));
        let seen = listeners.way();
        assert_eq!(
            (seen, is_refused),
            (Some(*way).filter(|way| *way != Refused), *way == Refused),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn downloads_take_the_same_way_as_checks() {
    if let Some(url) = message() {
        let request = FetchRequest {
            url,
            fallbacks: Vec::new(),
            start: 0,
            entity: None,
            size: 1,
            credentials: None,
        };
        let settings = FetchSettings {
            no_answer_retries: 0,
            ..FetchSettings::default()
        };
        let error = Fetcher::new(settings).open(request).await.unwrap_err();
        eprintln!("refused: {}", matches!(error, FetchError::Unaskable { .. }));
        return;
    }
    let listeners = Listeners::start();
    let test = "network::downloads_take_the_same_way_as_checks";
    for row in VARIABLES.iter().take(1).chain(SCHEMES) {
        let environment = listeners.environment(row);
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        again(test, &listeners.url(row), &environment);
        assert_eq!(listeners.way().unwrap_or(Refused), row.2, "{row:?}");
    }
}

/// In a network of its own, whose loopback has an address that is valid on that link alone.
#[tokio::test]
async fn a_link_local_address_with_a_zone_is_a_server_of_checks_and_payloads() {
    if message().is_none() {
        let test = "network::a_link_local_address_with_a_zone_is_a_server_of_checks_and_payloads";
        let output = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-ec"])
            .arg(r#"ip link set lo up; ip -6 address add fe80::1/64 dev lo; exec "$0" "$@""#)
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env("UPDATE_ENGINE_TEST_MESSAGE", "in it")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let server = Server::start_at(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
    server.serve("update", b"<response/>");
    let port = server.address().port();
    let url = format!("http://[fe80::1%25lo]:{port}/update");
    let answer = Client::default().post(&url, String::new(), Patience::None).await;
    assert_eq!(answer.unwrap().body, b"<response/>");
    let request = FetchRequest {
        url,
        fallbacks: Vec::new(),
        start: 0,
        entity: None,
        size: 11,
        credentials: None,
    };
    let mut stream = Fetcher::new(FetchSettings::default())
        .open(request)
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), &b"<response/>"[..]);
    let hosts: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("host").unwrap().to_owned())
        .collect();
    assert_eq!(hosts, [format!("[fe80::1]:{port}"), format!("[fe80::1]:{port}")]);
    // Without it, nobody knows on which link.
    let nowhere = format!("http://[fe80::1]:{port}/update");
    let error = Client::default()
        .post(&nowhere, String::new(), Patience::None)
        .await
        .unwrap_err();
    assert!(matches!(error, PostError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_user_in_a_servers_url_is_sent_as_curl_sends_it() {
    let server = Server::start();
    server.serve("update", b"<response/>");
    let url = server
        .url("update")
        .replace("http://", "http://me%40home:p%2Fw%3a%c3%a9@");
    let curl = Command::new("curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--output",
            "/dev/null",
            "--data",
            "x",
            &url,
        ])
        .status();
    assert!(curl.unwrap().success());
    let answer = Client::default().post(&url, String::new(), Patience::None).await;
    answer.unwrap();
    let mut stream = Fetcher::new(FetchSettings::default())
        .open(FetchRequest {
            url,
            fallbacks: Vec::new(),
            start: 0,
            entity: None,
            size: 11,
            credentials: None,
        })
        .await
        .unwrap();
    while let Some(bytes) = stream.next().await {
        bytes.unwrap();
    }
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|one| *one == sent[0]), "{sent:?}");
}
