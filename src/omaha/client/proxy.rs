//! Which proxy a server is reached through.

use std::net::IpAddr;

use url::{Host, Url};

/// The environment's proxies. Read once: a daemon's environment doesn't change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    http: Option<String>,
    https: Option<String>,
    bypass: Vec<String>,
}

impl Proxies {
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| {
            let found = variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
            found.filter(|value| !value.is_empty())
        };
        let all = set("all_proxy");
        Self {
            http: set("http_proxy").or_else(|| all.clone()),
            https: set("https_proxy").or(all),
            bypass: entries(&set("no_proxy").unwrap_or_default()),
        }
    }

    /// The proxy for `url`; none if it is reached directly.
    pub(super) fn for_url(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            "https" => self.https.as_deref(),
            _ => self.http.as_deref(),
        };
        proxy.filter(|_| !self.bypass.iter().any(|entry| matches(entry, url)))
    }
}

fn entries(list: &str) -> Vec<String> {
    list.split([',', ' '])
        .filter(|entry| !entry.is_empty())
        .map(|entry| match entry {
            "*" => entry.to_owned(),
            _ => entry
                .trim_start_matches('*')
                .trim_matches('.')
                .to_ascii_lowercase(),
        })
        .collect()
}

/// An entry is `*`, a domain (which stands for everything below it too), an address or a network.
fn matches(entry: &str, url: &Url) -> bool {
    match url.host() {
        _ if entry == "*" => true,
        Some(Host::Domain(domain)) => domain
            .trim_end_matches('.')
            .strip_suffix(entry)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        Some(Host::Ipv4(address)) => in_network(entry, address.into()),
        Some(Host::Ipv6(address)) => in_network(entry, address.into()),
        None => false,
    }
}

/// Whether `network` (an address, or one with a prefix length) holds `address`.
fn in_network(network: &str, address: IpAddr) -> bool {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, length.parse().ok()),
        None => (network, Some(128)),
    };
    let Ok(base) = base.trim_matches(['[', ']']).parse::<IpAddr>() else {
        return false;
    };
    let same = |a: u128, b: u128, width: u32| {
        length.is_some_and(|length: u32| {
            (a ^ b)
                .checked_shr(width.saturating_sub(length))
                .is_none_or(|differing| differing == 0)
        })
    };
    match (base, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    fn proxy(environment: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = Proxies::read(|name| {
            let found = environment.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        proxies.for_url(&Url::parse(url).unwrap()).map(str::to_owned)
    }

    #[test]
    fn the_scheme_chooses_and_all_proxy_is_for_the_rest() {
        let environment = [
            ("ALL_PROXY", "socks5h://all"),
            ("https_proxy", "secure"),
            ("HTTPS_PROXY", "loud"),
        ];
        assert_eq!(proxy(&environment, "https://a/").as_deref(), Some("secure"));
        assert_eq!(proxy(&environment, "http://a/").as_deref(), Some("socks5h://all"));
        assert_eq!(proxy(&[("HTTP_PROXY", "p")], "http://a/").as_deref(), Some("p"));
        assert_eq!(proxy(&[("HTTP_PROXY", "p")], "https://a/"), None);
        assert_eq!(proxy(&[("ALL_PROXY", "")], "https://a/"), None);
    }

    #[test]
    fn no_proxy_names_domains_addresses_and_networks() {
        let cases = [
            ("example.com", "http://example.com/", true),
            ("example.com", "http://a.EXAMPLE.com/", true),
            (".example.com", "http://a.example.com/", true),
            ("*.example.com", "http://a.example.com/", true),
            ("example.com", "http://badexample.com/", false),
            ("a, example.com", "http://example.com:8080/", true),
            ("*", "http://anything/", true),
            (",", "http://anything/", false),
            ("10.0.0.0/8", "http://10.1.2.3/", true),
            ("10.0.0.0/8", "http://11.1.2.3/", false),
            ("10.0.0.0/x", "http://10.1.2.3/", false),
            ("0.0.0.0/0", "http://10.1.2.3/", true),
            ("127.0.0.1", "http://127.0.0.1/", true),
            ("127.0.0.1", "http://127.0.0.2/", false),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("::1", "http://[::1]/", true),
            ("::/0", "http://10.1.2.3/", false),
        ];
        for (bypass, url, direct) in cases {
            let environment = [("all_proxy", "p"), ("no_proxy", bypass)];
            assert_eq!(proxy(&environment, url).is_none(), direct, "{bypass} {url}");
        }
    }
}
