//! `FleetLock`, Zincati's protocol, as poseidon's server speaks it.

use http::{HeaderMap, HeaderValue, Method};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;

use super::error::LockError;
use super::http::{Answer, Endpoints, Question};
use crate::printable::printable;

/// Zincati's application id.
const APP_ID: [u8; 16] = [
    0xde, 0x35, 0x10, 0x6b, 0x6e, 0xc2, 0x46, 0x88, 0xb6, 0x3a, 0xfd, 0xda, 0xa1, 0x56, 0x67, 0x9b,
];
const LOCKED: u16 = 423;
/// Characters of a server's sentence that are told.
const LONGEST_SHOWN: usize = 200;

/// A group at a server.
#[derive(Debug)]
pub(super) struct FleetLock {
    endpoints: Endpoints,
    /// The request's body: the same for all.
    body: String,
}

/// Answer to a try to take the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taken {
    ByUs,
    /// By another; in the server's words.
    ByOthers(String),
}

#[derive(Debug, Deserialize)]
struct Refused {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    value: String,
}

impl FleetLock {
    pub(super) fn new(endpoints: Endpoints, id: &str, group: &str) -> Self {
        // In Zincati's order.
        let (id, group) = (json!(id), json!(group));
        let body = format!(r#"{{"client_params":{{"id":{id},"group":{group}}}}}"#);
        Self { endpoints, body }
    }

    async fn ask(&self, path: &str) -> Result<Answer, LockError> {
        let mut headers = HeaderMap::new();
        headers.insert("fleet-lock-protocol", HeaderValue::from_static("true"));
        let question = Question {
            method: Method::POST,
            path: path.to_owned(),
            headers,
            body: self.body.clone().into(),
        };
        let answer = self.endpoints.ask(&question).await?;
        // Any body means yes, but for this one: a login page, or the page of a server at another address, would
        // send every node of the fleet down at once.
        if answer.is_web_page && (200..300).contains(&answer.status) {
            return Err(answer.nonsense("a web page: FLEET_LOCK_URL must be the URL of a FleetLock server"));
        }
        Ok(answer)
    }

    pub(super) async fn lock(&self) -> Result<Taken, LockError> {
        let answer = self.ask("/v1/pre-reboot").await?;
        match answer.status {
            200..=299 => Ok(Taken::ByUs),
            LOCKED => Ok(Taken::ByOthers(sentence(&answer))),
            _ => Err(answer.refused()),
        }
    }

    /// Fine if another node holds it: then this one doesn't.
    pub(super) async fn unlock(&self) -> Result<(), LockError> {
        let answer = self.ask("/v1/steady-state").await?;
        match answer.status {
            200..=299 | LOCKED => Ok(()),
            _ => Err(answer.refused()),
        }
    }
}

fn sentence(answer: &Answer) -> String {
    let told = serde_json::from_slice::<Refused>(&answer.body).map_or_else(
        |_| String::from_utf8_lossy(&answer.body).trim().to_owned(),
        |refused| {
            if refused.value.is_empty() {
                refused.kind
            } else {
                refused.value
            }
        },
    );
    let told: String = told.chars().take(LONGEST_SHOWN).collect();
    printable(&told).into_owned()
}

/// The id that Zincati derives from a machine's id, which poseidon's server finds the node by. None of what is no such id.
pub(super) fn zincati_id(machine_id: &str) -> Option<String> {
    if machine_id.len() != 32 || !machine_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = u128::from_str_radix(machine_id, 16).ok()?.to_be_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
    let tag = hmac::sign(&key, &APP_ID);
    let mut id: [u8; 16] = tag.as_ref().get(..16)?.try_into().ok()?;
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    Some(format!("{:032x}", u128::from_be_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_zincatis() {
        let id = |machine: &str| zincati_id(machine);
        assert_eq!(
            id("0123456789abcdef0123456789abcdef").as_deref(),
            Some("583627a932274834a8ebd99f4ed41c0d")
        );
        assert_eq!(
            id("1c09ca98649c4c7abc779cd04c96812e").as_deref(),
            Some("978a225b3d7b40e9acd7ce9b62f68444")
        );
        assert_eq!(id("+123456789abcdef0123456789abcdef"), None);
        assert_eq!(id(""), None);
    }
}
