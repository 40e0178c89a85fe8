//! The rules of the network, held against curl: which proxy, which host without one, which address.

mod addresses;
mod rows;

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use update_engine::fetch::{FetchError, FetchSettings, Fetcher};
use update_engine::net::{Proxies, ProxyScheme, ServerUrl};
use update_engine::omaha::{Client, PostError, Retries};

use self::rows::Curl::Agrees;
use self::rows::Way::{self, Direct, Http, Https, Refused, Socks4, Socks4a, Socks5, Socks5h};
use self::rows::{NO_PROXY, Row, SCHEMES, VARIABLES};
use crate::support::environment_rerun::{again, message};
use crate::support::fetching::request;

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
            .post(&listeners.url(row), String::new(), Retries::None)
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
        let settings = FetchSettings {
            no_answer_retries: 0,
            ..FetchSettings::default()
        };
        let error = Fetcher::new(settings).open(request(url, 1)).await.unwrap_err();
        eprintln!("refused: {}", matches!(error, FetchError::Unaskable { .. }));
        return;
    }
    let listeners = Listeners::start();
    let test = concat!(module_path!(), "::downloads_take_the_same_way_as_checks");
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
