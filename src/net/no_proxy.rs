//! `NO_PROXY`: hosts that are reached without a proxy, by curl's rules.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;

/// Value of the variable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NoProxy(String);

impl NoProxy {
    pub(super) fn new(list: &str) -> Self {
        Self(list.to_owned())
    }

    /// Whether `host` is on the list: entries are separated by commas, blanks or both; `*` counts
    /// only by itself.
    pub(super) fn exempts(&self, host: &Host<&str>) -> bool {
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
