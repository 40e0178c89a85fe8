//! Which redirects are followed.

use super::redact::redact_url;
use super::server_url::ServerUrl;

/// Hops that are followed; no honest server needs more.
pub(super) const MOST_REDIRECTS: usize = 10;

/// What is wrong with a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// More hops than any honest server needs.
    #[error("more than {limit} redirects")]
    TooMany {
        /// How many are followed.
        limit: usize,
    },
    /// From https to http or the other way, or to something else again.
    #[error("it leads from {from} to {to}{}", elsewhere(host.as_ref()))]
    Scheme {
        /// The scheme of the URL asked for.
        from: String,
        /// The scheme it would lead to.
        to: String,
        /// The host it would lead to, if that is another one.
        host: Option<String>,
    },
    /// It leads nowhere.
    #[error("it says no target")]
    NoTarget,
    /// It leads to something that is no URL.
    #[error("its target {target:?} is no URL")]
    NotAUrl {
        /// The target, as it may be shown.
        target: String,
    },
}

fn elsewhere(host: Option<&String>) -> String {
    match host {
        Some(host) => format!(" at another host, {host}, as networks do that want a login first"),
        None => String::new(),
    }
}

impl RedirectFault {
    pub(super) fn no_url(target: &str) -> Self {
        Self::NotAUrl {
            target: redact_url(target).chars().take(200).collect(),
        }
    }
}

/// Where the answer with this `Location` to a request for `url` leads, after so many hops.
pub(super) fn target(
    url: &ServerUrl,
    location: Option<&[u8]>,
    hops: usize,
) -> Result<ServerUrl, RedirectFault> {
    if hops >= MOST_REDIRECTS {
        return Err(RedirectFault::TooMany {
            limit: MOST_REDIRECTS,
        });
    }
    let location = String::from_utf8_lossy(location.unwrap_or_default());
    match location.trim() {
        "" => Err(RedirectFault::NoTarget),
        location => url.follow(location),
    }
}
