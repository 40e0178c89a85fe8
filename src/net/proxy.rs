//! Proxy for a server, and the hosts that are reached without one (`NO_PROXY`), by curl's rules.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Once;

use url::{Host, Url};

use super::server_url::{Credentials, ServerUrl, split_zone};

/// Default port of a proxy, except for `https`, whose default is 443.
const DEFAULT_PORT: u16 = 1080;

/// The proxies that an environment names.
///
/// `https_proxy` or `HTTPS_PROXY` for https; `http_proxy`, in lower case only, for http; else
/// `all_proxy` or `ALL_PROXY`; unless `no_proxy` or `NO_PROXY` names the host. Lower case comes
/// first, and what is empty isn't set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Variable>,
    https: Option<Variable>,
    bypass: NoProxy,
}

/// A variable that names a proxy; parsed at use.
#[derive(Clone, PartialEq, Eq)]
struct Variable {
    name: String,
    value: String,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// Protocol that the proxy speaks.
    pub scheme: ProxyScheme,
    /// Name or address, without brackets, with a zone if it has one.
    pub host: String,
    /// TCP port of the proxy.
    pub port: u16,
    pub(super) credentials: Option<Credentials>,
}

/// Protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// HTTP: whole URLs for http, `CONNECT` for https.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 4: an IPv4 address that the client resolves.
    Socks4,
    /// SOCKS 4a: a name that the proxy resolves.
    Socks4a,
    /// SOCKS 5: an address that the client resolves.
    Socks5,
    /// SOCKS 5: a name that the proxy resolves.
    Socks5h,
}

/// Error of a proxy that can't be used; no request goes around it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFault {
    /// An unknown scheme.
    #[error(
        "{variable} names a proxy of the unknown scheme {scheme:?}: http, https, socks4, socks4a, socks5 and socks5h are known"
    )]
    Scheme {
        /// Name of the variable of the environment.
        variable: String,
        /// The scheme found.
        scheme: String,
    },
    /// The value is no URL of a proxy.
    #[error("{variable} is no URL of a proxy, such as http://proxy.example:3128")]
    Syntax {
        /// Name of the variable of the environment.
        variable: String,
    },
    /// A user name for SOCKS 4, which has no passwords.
    #[error(
        "{variable} has a user name, which is sent to proxies of the schemes http, https, socks5 and socks5h only"
    )]
    User {
        /// Name of the variable of the environment.
        variable: String,
    },
}

impl Proxies {
    /// The proxies of the process's environment.
    #[must_use]
    pub fn from_env() -> Self {
        static SAID: Once = Once::new();
        let proxies = Self::read(|name| std::env::var_os(name));
        if proxies.http.is_none() && std::env::var_os("HTTP_PROXY").is_some_and(|value| !value.is_empty()) {
            SAID.call_once(|| {
                tracing::warn!("HTTP_PROXY counts in lower case only, as for curl: http servers are asked without a proxy");
            });
        }
        proxies
    }

    /// The proxies of an environment whose variables `variable` returns.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(Variable {
                name: name.to_owned(),
                value: value.to_string_lossy().into_owned(),
            })
        };
        let either = |name: &str| set(name).or_else(|| set(&name.to_ascii_uppercase()));
        let all = either("all_proxy");
        let bypass = either("no_proxy").map(|list| NoProxy::new(&list.value));
        Self {
            http: set("http_proxy").or_else(|| all.clone()),
            https: either("https_proxy").or(all),
            bypass: bypass.unwrap_or_default(),
        }
    }

    /// The proxy for `url`; none if it is reached directly.
    ///
    /// # Errors
    /// If there is one that can't be used.
    pub fn for_url(&self, url: &ServerUrl) -> Result<Option<ProxyServer>, ProxyFault> {
        let variable = if url.is_https() { &self.https } else { &self.http };
        match variable {
            Some(variable) if !self.bypass.exempts(&url.host()) => variable.proxy().map(Some),
            _ => Ok(None),
        }
    }
}

impl Variable {
    fn proxy(&self) -> Result<ProxyServer, ProxyFault> {
        let variable = self.name.clone();
        let syntax = || ProxyFault::Syntax {
            variable: self.name.clone(),
        };
        let (scheme, rest) = self.value.split_once("://").unwrap_or(("http", &self.value));
        let Some(kind) = ProxyScheme::parse(scheme) else {
            let is_scheme = scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            let scheme = scheme.to_owned();
            return Err(if is_scheme {
                ProxyFault::Scheme { variable, scheme }
            } else {
                syntax()
            });
        };
        if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(syntax());
        }
        // A scheme of no special meaning: of others the library makes up, drops and rewrites parts.
        let (plain, zone) = split_zone(&format!("proxy://{rest}")).ok_or_else(syntax)?;
        let url = Url::parse(&plain).map_err(|_| syntax())?;
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() || host.contains('%') {
            return Err(syntax());
        }
        let credentials = Credentials::in_url(url.username(), url.password());
        if credentials.is_some() && kind.is_socks4() {
            return Err(ProxyFault::User { variable });
        }
        let host = host.trim_matches(['[', ']']);
        let default = if kind == ProxyScheme::Https {
            443
        } else {
            DEFAULT_PORT
        };
        Ok(ProxyServer {
            scheme: kind,
            host: zone.map_or_else(|| host.to_owned(), |zone| format!("{host}%{zone}")),
            port: url.port().unwrap_or(default),
            credentials,
        })
    }
}

/// The value may hold a password.
impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl ProxyScheme {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "https" => Self::Https,
            "socks" | "socks4" => Self::Socks4,
            "socks4a" => Self::Socks4a,
            "socks5" => Self::Socks5,
            "socks5h" => Self::Socks5h,
            _ => return None,
        })
    }

    const fn is_socks4(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            ProxyScheme::Http => "http",
            ProxyScheme::Https => "https",
            ProxyScheme::Socks4 => "socks4",
            ProxyScheme::Socks4a => "socks4a",
            ProxyScheme::Socks5 => "socks5",
            ProxyScheme::Socks5h => "socks5h",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Value of the variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct NoProxy(String);

impl NoProxy {
    pub(super) fn new(list: &str) -> Self {
        Self(list.to_owned())
    }

    /// Whether `host` is on the list: entries are separated by commas, blanks or both; `*` counts
    /// only by itself.
    fn exempts(&self, host: &Host<&str>) -> bool {
        if self.0 == "*" {
            return true;
        }
        let mut entries = self.0.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        match host {
            Host::Domain(name) => entries.any(|entry| is_below(name, entry)),
            Host::Ipv4(address) => entries.any(|entry| holds_v4(entry, *address)),
            Host::Ipv6(address) => entries.any(|entry| holds_v6(entry, *address)),
        }
    }
}

/// A name stands for itself and for everything below it, with a dot before it or without. A port,
/// brackets or a star in it mean nothing: it is then no name that any host has.
fn is_below(name: &str, entry: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let entry = entry.strip_suffix('.').unwrap_or(entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    if entry.is_empty() || !name.is_ascii() || !entry.is_ascii() || entry.len() > name.len() {
        return false;
    }
    let (above, tail) = name.split_at(name.len() - entry.len());
    (above.is_empty() || above.ends_with('.')) && tail.eq_ignore_ascii_case(entry)
}

fn holds_v4(entry: &str, address: Ipv4Addr) -> bool {
    let (base, length) = network(entry);
    let Ok(base) = base.parse::<Ipv4Addr>() else {
        return false;
    };
    is_same_network(u32::from(base).into(), u32::from(address).into(), length, 32)
}

fn holds_v6(entry: &str, address: Ipv6Addr) -> bool {
    let (base, length) = network(entry);
    let Ok(base) = base.parse::<Ipv6Addr>() else {
        return false;
    };
    is_same_network(base.into(), address.into(), length, 128)
}

/// `base/length`. Digits count as far as there are any, as C reads them; none: 0.
fn network(entry: &str) -> (&str, u32) {
    let Some((base, length)) = entry.split_once('/') else {
        return (entry, 0);
    };
    let digits = length.bytes().take_while(u8::is_ascii_digit);
    let length = digits.fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    });
    (base, length)
}

/// Of a network without a length, or of length 0, only its own address is one.
fn is_same_network(base: u128, address: u128, length: u32, width: u32) -> bool {
    match length {
        0 => base == address,
        _ if length > width => false,
        _ => (base ^ address) >> (width - length) == 0,
    }
}
