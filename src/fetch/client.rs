//! The HTTP client under a stream.

use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};

use super::{FetchError, FetchSettings, RedirectFault};

const MOST_REDIRECTS: usize = 10;

/// A client made for one stream, so that proxies and trusted roots are those of now: operators change
/// both while the daemon runs.
///
/// Proxies come from the environment (`ALL_PROXY`, `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, SOCKS too),
/// trusted roots from the system's store. Connections are not kept: the next request on this client
/// follows an interruption.
pub(super) fn client(settings: &FetchSettings) -> Result<Client, FetchError> {
    // TLS wants one provider of cryptography per process; a second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder(settings).build().or_else(|error| {
        // A node without any trusted root still gets its updates over http; with an empty store, https
        // is refused later and by name.
        tracing::warn!(%error, "no trusted roots: https will not work");
        builder(settings)
            .tls_certs_only([])
            .build()
            .map_err(FetchError::Client)
    })
}

fn builder(settings: &FetchSettings) -> ClientBuilder {
    Client::builder()
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(0)
        .redirect(Policy::custom(judge))
        .referer(false)
}

fn judge(attempt: Attempt<'_>) -> Action {
    match fault(attempt.previous(), attempt.url()) {
        None => attempt.follow(),
        Some(fault) => attempt.error(fault),
    }
}

/// `previous` starts with the URL asked for, so it is one longer than the hops behind us.
fn fault(previous: &[Url], next: &Url) -> Option<RedirectFault> {
    let from = previous.first()?.scheme();
    if previous.len() > MOST_REDIRECTS {
        Some(RedirectFault::TooMany {
            limit: MOST_REDIRECTS,
        })
    } else if from != next.scheme() {
        Some(RedirectFault::Scheme {
            from: from.to_owned(),
            to: next.scheme().to_owned(),
        })
    } else {
        None
    }
}

/// The redirect fault that `error` was raised for.
pub(super) fn redirect_fault(error: &reqwest::Error) -> Option<RedirectFault> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(fault) = error.downcast_ref::<RedirectFault>() {
            return Some(fault.clone());
        }
        source = error.source();
    }
    None
}

/// The URL of a payload.
pub(super) fn payload_url(text: &str) -> Result<Url, FetchError> {
    let refused = || FetchError::Url { url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| refused())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(refused()),
    }
}

/// `url` without what must not be in journals: user, password and query (signed URLs).
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for URLs without a host, which http URLs are not.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|t| Url::parse(t).unwrap()).collect()
    }

    #[test]
    fn a_redirect_keeps_the_scheme() {
        let to = |from: &str, to: &str| fault(&urls(&[from]), &Url::parse(to).unwrap());
        assert_eq!(to("http://a/", "http://b/"), None);
        assert_eq!(to("https://a/", "https://b/"), None);
        assert_eq!(
            to("https://a/", "http://a/").unwrap().to_string(),
            "it leads from https to http"
        );
        assert_eq!(
            to("http://a/", "https://a/").unwrap().to_string(),
            "it leads from http to https"
        );
        assert!(to("http://a/", "file:///etc/shadow").is_some());
    }

    #[test]
    fn ten_redirects_are_followed_and_no_eleventh() {
        let next = Url::parse("http://a/").unwrap();
        assert_eq!(fault(&urls(&["http://a/"; 10]), &next), None);
        assert_eq!(
            fault(&urls(&["http://a/"; 11]), &next),
            Some(RedirectFault::TooMany { limit: 10 })
        );
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let url = payload_url("https://me:secret@host:8443/dir/update.gz?sig=abc#x").unwrap();
        assert_eq!(shown(&url), "https://host:8443/dir/update.gz");
    }

    #[test]
    fn only_http_urls_are_fetched() {
        for text in ["file:///etc/passwd", "ftp://host/x", "update.gz", ""] {
            assert_eq!(
                payload_url(text).unwrap_err().to_string(),
                format!("{text:?} is not an http or https URL")
            );
        }
    }
}
