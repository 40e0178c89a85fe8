//! Settings and URLs, and the way that they lead.

/// How a server was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
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

/// A setting, a URL, the way, and whether the installed curl is asked too. `!` is the address of
/// the proxy, `@` the server's port.
pub(super) type Row = (&'static [(&'static str, &'static str)], &'static str, Way, Curl);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curl {
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

pub(super) const NO_PROXY: &[Row] = no_proxy![
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

pub(super) const VARIABLES: &[Row] = &[
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

pub(super) const SCHEMES: &[Row] = &[
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
