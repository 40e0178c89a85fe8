//! Following a POST to where it is answered.

use url::Url;

use super::interrupt::Interrupt;
use super::proxy::Proxies;
use super::wire::{self, Answer, Method};
use super::{MAX_ANSWER, PostError};

const MOST_REDIRECTS: u32 = 10;

/// Reads the setting: an absolute `http` or `https` URL.
pub(super) fn parse(text: &str) -> Result<Url, PostError> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| PostError::Url { url: text.to_owned() })
}

/// Posts to `url` and follows redirects. As curl does it, and the original with it, 301, 302 and 303 turn
/// the POST into a GET without a body; 307 and 308 keep it.
pub(super) fn follow(
    mut url: Url,
    document: &str,
    proxies: &Proxies,
    interrupt: &Interrupt,
) -> Result<Vec<u8>, PostError> {
    let mut method = Method::Post(document);
    let mut left = MOST_REDIRECTS;
    loop {
        let answer =
            wire::exchange(&url, method, proxies, interrupt).map_err(|error| no_answer(&url, error))?;
        match answer.status {
            200..=299 if answer.body.len() as u64 > MAX_ANSWER => {
                return Err(PostError::TooLong { url: name(&url) });
            }
            200..=299 => return Ok(answer.body),
            301 | 302 | 303 | 307 | 308 => {}
            status => {
                let url = name(&url);
                return Err(PostError::Status { url, status });
            }
        }
        if !matches!(answer.status, 307 | 308) {
            method = Method::Get;
        }
        url = target(&url, answer, left)?;
        // Refused above when none is left.
        left -= 1;
    }
}

fn no_answer(url: &Url, error: ureq::Error) -> PostError {
    PostError::NoAnswer {
        url: name(url),
        source: Box::new(error),
    }
}

/// The URL as logs may show it.
pub(super) fn name(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs that have no password.
    let _ = url.set_password(None);
    url.into()
}

fn target(url: &Url, answer: Answer, left: u32) -> Result<Url, PostError> {
    let target = answer.location.unwrap_or_default();
    let joined = url.join(&target);
    let reason = match joined {
        _ if left == 0 => "too many redirects",
        _ if target.is_empty() => "no target",
        Ok(next) if next.scheme() == url.scheme() => return Ok(next),
        Ok(_) => "another scheme",
        Err(_) => "no URL",
    };
    Err(PostError::Redirect {
        url: name(url),
        status: answer.status,
        target,
        reason,
    })
}
