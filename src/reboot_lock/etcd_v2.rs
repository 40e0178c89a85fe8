//! etcd's v2 API: locksmith's key, changed as locksmith changes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use super::error::LockError;
use super::http::{Answer, Endpoints, Question};
use super::semaphore::Semaphore;
use super::store::{Found, SemaphoreStore, Swap};

const KEY_NOT_FOUND: u64 = 100;

/// Bytes that Go's `url.QueryEscape` escapes, the blank among them.
const GO_QUERY: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// `text` as Go escapes it in a query and in a form.
pub(super) fn query_escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, GO_QUERY)
        .to_string()
        .replace("%20", "+")
}

/// The semaphore of a group.
#[derive(Debug)]
pub(super) struct EtcdV2 {
    endpoints: Endpoints,
    /// Path of the key's URL.
    path: String,
    /// Where etcd wants a user: over http, too, as locksmith.
    login: Option<HeaderValue>,
}

#[derive(Debug, Deserialize)]
struct NodeAnswer {
    node: EtcdNode,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EtcdNode {
    value: String,
    modified_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorAnswer {
    error_code: u64,
}

impl EtcdV2 {
    /// At `key`, which begins with a slash and is escaped once; as the user of `login`, name and password.
    pub(super) fn new(endpoints: Endpoints, key: &str, login: Option<(String, String)>) -> Self {
        Self {
            endpoints,
            path: format!("/v2/keys{}", key.replace('%', "%25")),
            login: login.and_then(|(user, password)| basic(&user, &password)),
        }
    }

    async fn ask(&self, query: &str, value: Option<&Semaphore>) -> Result<Answer, LockError> {
        let mut headers = HeaderMap::new();
        let mut body = Bytes::new();
        let mut method = Method::GET;
        if let Some(value) = value {
            body = format!("value={}", query_escaped(&value.text())).into();
            method = Method::PUT;
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, kind);
        }
        if let Some(login) = &self.login {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let question = Question {
            method,
            path: format!("{}?{query}", self.path),
            headers,
            body,
        };
        self.endpoints.ask(&question).await
    }

    /// An answer other than the one that was hoped for.
    fn failure(answer: &Answer) -> LockError {
        let is_etcds = serde_json::from_slice::<ErrorAnswer>(&answer.body).is_ok();
        if answer.status == 404 && !is_etcds {
            return LockError::NoV2 {
                url: answer.url.clone(),
            };
        }
        answer.refused()
    }
}

fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{user}:{password}"));
    // Letters, digits, `+`, `/` and `=` are fit for a header.
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl SemaphoreStore for EtcdV2 {
    const HAS_NOTES: bool = false;

    async fn read(&self) -> Result<Option<Found>, LockError> {
        // By consensus: a member that lags behind must not tell a holder that it still is one.
        let answer = self.ask("quorum=true&recursive=false&sorted=false", None).await?;
        match answer.status {
            200 => {
                let NodeAnswer { node } = answer.json()?;
                Ok(Some(Found {
                    semaphore: Semaphore::read(node.value.as_bytes())
                        .map_err(|fault| answer.nonsense(fault.to_string()))?,
                    revision: node.modified_index,
                }))
            }
            404 => {
                let error: ErrorAnswer = answer.json().map_err(|_| Self::failure(&answer))?;
                match error.error_code {
                    KEY_NOT_FOUND => Ok(None),
                    _ => Err(Self::failure(&answer)),
                }
            }
            _ => Err(Self::failure(&answer)),
        }
    }

    async fn create(&self, semaphore: &Semaphore) -> Result<Swap, LockError> {
        let answer = self.ask("prevExist=false", Some(semaphore)).await?;
        match answer.status {
            201 => Ok(Swap::Done),
            412 => Ok(Swap::Raced),
            _ => Err(Self::failure(&answer)),
        }
    }

    async fn replace(&self, before: &Found, semaphore: &Semaphore) -> Result<Swap, LockError> {
        let query = format!("prevIndex={}", before.revision);
        let answer = self.ask(&query, Some(semaphore)).await?;
        match answer.status {
            200 => Ok(Swap::Done),
            // Gone, or another one by now.
            404 | 412 => Ok(Swap::Raced),
            _ => Err(Self::failure(&answer)),
        }
    }
}
