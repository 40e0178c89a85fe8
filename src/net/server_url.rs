//! URL of a server: `http` or `https`, parsed as curl does, with the user name and password for that
//! server.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use url::{Host, Position, Url};

use super::redact::redact_url;
use super::redirect::RedirectFault;

/// Longest name of a network interface, in bytes.
const LONGEST_ZONE: usize = 15;

/// An absolute `http` or `https` URL with a host. User name and password are kept apart from it,
/// percent-decoded; so is the zone of a link-local address (`http://[fe80::1%25eth0]:8000/`), which
/// means something on this machine alone.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    url: Url,
    zone: Option<String>,
    credentials: Option<Credentials>,
}

/// Error of a text that is no URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not an http or https URL")]
pub struct UrlFault {
    /// The text, without user, password and query.
    pub url: String,
}

impl ServerUrl {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// If it is none, or of another scheme.
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let refused = || UrlFault {
            url: redact_url(text),
        };
        // A reader of URLs would find a host behind more or fewer slashes, too: nobody means that,
        // and whoever shows the text has to know where its secrets are.
        let authority = authority(text.trim()).map(|place| &text.trim()[place]);
        if authority.is_none_or(|authority| authority.trim().is_empty()) {
            return Err(refused());
        }
        let (plain, zone) = split_zone(text).ok_or_else(refused)?;
        let url = Url::parse(&plain).map_err(|_| refused())?;
        match url.scheme() {
            "http" | "https" => Ok(Self::new(url, zone)),
            _ => Err(refused()),
        }
    }

    fn new(mut url: Url, zone: Option<String>) -> Self {
        let credentials = Credentials::in_url(url.username(), url.password());
        // Both fail only for URLs without a host, which http URLs are not.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Self {
            url,
            zone,
            credentials,
        }
    }

    /// Target of a redirect from this URL to `location`. A target without a host of its own keeps
    /// zone, user and password.
    pub(super) fn follow(&self, location: &str) -> Result<Self, RedirectFault> {
        let no_url = || RedirectFault::no_url(location);
        let (plain, zone) = split_zone(location).ok_or_else(no_url)?;
        let url = self.url.join(&plain).map_err(|_| no_url())?;
        if url.scheme() != self.url.scheme() {
            let host = url.host_str().filter(|host| Some(*host) != self.url.host_str());
            return Err(RedirectFault::Scheme {
                from: self.url.scheme().to_owned(),
                to: url.scheme().to_owned(),
                host: host.map(str::to_owned),
            });
        }
        let mut target = Self::new(url, zone);
        // Both: a URL parser finds a host where a backslash or a tab stands for a slash, and a host
        // of its own in the location never inherits.
        let stays = target.url[..Position::AfterPort] == self.url[..Position::AfterPort];
        if stays && !has_authority(&plain) {
            target.zone.clone_from(&self.zone);
            target.credentials.clone_from(&self.credentials);
        }
        Ok(target)
    }

    /// Whether the server is reached by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// User and password of the URL itself.
    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn host(&self) -> Host<&str> {
        // Invariant: http URLs have a host.
        self.url.host().unwrap_or(Host::Domain(""))
    }

    /// The host as an address or name to look up, with its zone: `fe80::1%eth0`.
    pub(super) fn host_to_resolve(&self) -> String {
        let host = match self.host() {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        match &self.zone {
            Some(zone) => format!("{host}%{zone}"),
            None => host,
        }
    }

    pub(super) fn port(&self) -> u16 {
        // Invariant: both schemes have one.
        self.url.port_or_known_default().unwrap_or_default()
    }

    pub(super) const fn zone(&self) -> Option<&String> {
        self.zone.as_ref()
    }

    /// `host:port` for proxies; the host in brackets if it is an IPv6 address.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// Value of the header `Host`: with the port only if it isn't the scheme's default.
    pub(super) fn host_header(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    /// Request target for the server itself: path and query.
    pub(super) fn origin_form(&self) -> &str {
        &self.url[Position::BeforePath..Position::AfterQuery]
    }

    /// Request target for a proxy: the whole URL.
    pub(super) fn absolute_form(&self) -> &str {
        self.url.as_str()
    }

    /// Whether scheme, host and port are the same: user and password go no farther.
    #[must_use]
    pub fn is_same_server(&self, other: &Self) -> bool {
        self.url[..Position::AfterPort] == other.url[..Position::AfterPort] && self.zone == other.zone
    }
}

/// Without user, password and query.
impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = redact_url(self.url.as_str());
        match (&self.zone, shown.find(']')) {
            (Some(zone), Some(at)) => write!(f, "{}%25{zone}{}", &shown[..at], &shown[at..]),
            _ => f.write_str(&shown),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerUrl({self})")
    }
}

/// Range of the authority in the text of an absolute URL, or of one that begins with its authority.
fn authority(text: &str) -> Option<std::ops::Range<usize>> {
    let start = if text.starts_with("//") {
        2
    } else {
        let colon = text.find(':')?;
        let is_scheme = text[..colon]
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        (is_scheme && text[colon..].starts_with("://")).then_some(colon + 3)?
    };
    let length = text[start..].find(['/', '?', '#', '\\']);
    Some(start..length.map_or(text.len(), |length| start + length))
}

fn has_authority(text: &str) -> bool {
    authority(text).is_some()
}

/// Takes the zone out of an IPv6 address in brackets (RFC 6874, and with a bare `%` as curl takes
/// it too); `None` if it can't be the name of an interface.
pub(super) fn split_zone(text: &str) -> Option<(String, Option<String>)> {
    let plain = || Some((text.to_owned(), None));
    let Some(authority) = authority(text) else {
        return plain();
    };
    let host = text[authority.clone()]
        .rfind('@')
        .map_or(authority.start, |at| authority.start + at + 1);
    let address = &text[host..authority.end];
    let Some(end) = address.strip_prefix('[').and_then(|_| address.find(']')) else {
        return plain();
    };
    let Some(percent) = address[..end].find('%') else {
        return plain();
    };
    let zone = &address[percent..end];
    let zone = zone.strip_prefix("%25").unwrap_or(&zone[1..]);
    let zone = percent_decode_str(zone).decode_utf8().ok()?;
    let is_name = !zone.is_empty()
        && zone.len() <= LONGEST_ZONE
        && !zone.contains(|c: char| c == '/' || c == '%' || c.is_whitespace() || c.is_control());
    let without = format!("{}{}", &text[..host + percent], &text[host + end..]);
    is_name.then(|| (without, Some(zone.into_owned())))
}

/// User name and password. Bytes, since URLs may hold any.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name as it is sent: percent-encoding is undone.
    pub user: Vec<u8>,
    /// Password; may be empty.
    pub password: Vec<u8>,
}

impl Credentials {
    /// Credentials from a configuration file.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.as_bytes().to_vec(),
            password: password.as_bytes().to_vec(),
        }
    }

    /// Credentials from a URL, in which they are percent-encoded; `None` if it has none.
    pub(super) fn in_url(user: &str, password: Option<&str>) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).collect();
        (!user.is_empty() || password.is_some()).then(|| Self {
            user: decoded(user),
            password: password.map(decoded).unwrap_or_default(),
        })
    }

    /// Value of the headers `Authorization` and `Proxy-Authorization`.
    pub(super) fn basic(&self) -> HeaderValue {
        let pair = [&self.user[..], b":", &self.password].concat();
        // Invariant: letters, digits, `+`, `/` and `=` are fit for a header.
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServerUrl {
        ServerUrl::parse(text).unwrap()
    }

    #[test]
    fn secrets_of_a_url_are_kept_apart_from_it_and_decoded() {
        let parsed = url("https://me%40home:p%3a%2Fw%c3%a9@host:8443/dir/update.gz?sig=abc#x");
        assert_eq!(parsed.to_string(), "https://host:8443/dir/update.gz…");
        assert_eq!(
            format!("{parsed:?}"),
            "ServerUrl(https://host:8443/dir/update.gz…)"
        );
        assert_eq!(parsed.origin_form(), "/dir/update.gz?sig=abc");
        let known = parsed.credentials().unwrap();
        assert_eq!(
            (&known.user[..], &known.password[..]),
            (&b"me@home"[..], "p:/wé".as_bytes())
        );
        assert_eq!(url("http://host/").credentials(), None);
    }

    #[test]
    fn a_zone_is_for_this_machine_alone() {
        for text in [
            "http://[fe80::1%25eth0]:8000/v1",
            "http://me@[fe80::1%eth0]:8000/v1",
        ] {
            let parsed = url(text);
            assert_eq!(parsed.host_to_resolve(), "fe80::1%eth0");
            assert_eq!(parsed.host_header(), "[fe80::1]:8000");
            assert_eq!(parsed.to_string(), "http://[fe80::1%25eth0]:8000/v1");
        }
        for text in [
            "http://[fe80::1%25]/",
            "http://[fe80::1%a%20b]/",
            "http://[fe80::1%25sixteen-letters-]/",
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_http_urls_are_of_servers() {
        for text in ["file:///etc/passwd", "ftp://host/x", "update.gz", "", "http://"] {
            assert_eq!(
                ServerUrl::parse(text).unwrap_err().to_string(),
                format!("{text:?} is not an http or https URL")
            );
        }
        for text in [
            "http:///me:secret@host/",
            "http://\\me:secret@host/",
            "http://\t/me:secret@host/",
            "https:/me:secret@host",
            "https:me:secret@host",
            "http:\\\\me:secret@host",
        ] {
            let told = ServerUrl::parse(text).unwrap_err().to_string();
            assert!(!told.contains("secret"), "{told}");
        }
        let secret = ServerUrl::parse("htp://me:secret@host/?sig=1").unwrap_err();
        assert_eq!(secret.url, "htp://host/…");
    }

    #[test]
    fn a_redirect_keeps_the_scheme_and_a_relative_one_the_server() {
        let from = url("http://me:secret@[fe80::1%25eth0]:8/a/b");
        let to = from.follow("c?d").unwrap();
        assert_eq!(to.to_string(), "http://[fe80::1%25eth0]:8/a/c…");
        assert!(to.credentials().is_some() && to.is_same_server(&from));
        for away in ["http://b/", "//b/"] {
            let to = from.follow(away).unwrap();
            assert_eq!(
                (to.zone(), to.credentials(), to.is_same_server(&from)),
                (None, None, false)
            );
        }
        for away in ["/\\b/x", "\\\\b/x", "http:\\\\b/x", "/\t/b/x"] {
            let to = from.follow(away).unwrap();
            assert_eq!(
                (to.host_to_resolve().as_str(), to.credentials()),
                ("b", None),
                "{away:?}"
            );
        }
        assert!(
            from.follow("http://you:other@b/")
                .unwrap()
                .credentials()
                .is_some()
        );
        let told = |text: &str| from.follow(text).unwrap_err().to_string();
        assert_eq!(told("https://[fe80::1]/"), "it leads from http to https");
        assert_eq!(
            told("https://me:geheim@b/?sig=1"),
            "it leads from http to https at another host, b, as networks do that want a login first"
        );
        assert_eq!(told("file:///etc/shadow"), "it leads from http to file");
        assert_eq!(
            told("http://you:geheim@[/?sig=1"),
            "its target \"http://[/…\" is no URL"
        );
    }
}
