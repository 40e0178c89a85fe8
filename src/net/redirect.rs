//! Redirects: the rules for following them.

use super::redact::redact_url;
use super::server_url::ServerUrl;

/// Number of redirects that are followed; no honest server needs more.
pub(super) const MOST_REDIRECTS: usize = 10;

/// Reason for not following a redirect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectFault {
    /// More hops than any honest server needs.
    #[error("more than {limit} redirects")]
    TooMany {
        /// Number of redirects that are followed.
        limit: usize,
    },
    /// Change of scheme: from https to http, from http to https, or to another scheme.
    #[error("it leads from {from} to {to}{}", elsewhere(host.as_ref()))]
    Scheme {
        /// The scheme of the URL asked for.
        from: String,
        /// The scheme it would lead to.
        to: String,
        /// The host it would lead to, if it differs.
        host: Option<String>,
    },
    /// A redirect without `Location`.
    #[error("it says no target")]
    NoTarget,
    /// The target is no URL.
    #[error("its target {target:?} is no URL")]
    NotAUrl {
        /// The target, without user, password and query.
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

/// Target of a redirect from `url` to `location`, after `hops` redirects.
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
