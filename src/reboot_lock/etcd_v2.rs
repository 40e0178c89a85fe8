//! etcd's v2 API: locksmith's key, changed as locksmith changes it.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use super::error::LockError;
use super::http::{Answer, Endpoints, Question};
use super::semaphore::Semaphore;
use super::store::{Found, SemaphoreStore, Swap};

const KEY_NOT_FOUND: u64 = 100;

/// The semaphore of a group.
#[derive(Debug)]
pub(super) struct EtcdV2 {
    endpoints: Endpoints,
    /// Path of the key's URL.
    path: String,
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
    /// At `key`, which begins with a slash and is escaped once.
    pub(super) fn new(endpoints: Endpoints, key: &str) -> Self {
        Self {
            endpoints,
            path: format!("/v2/keys{}", key.replace('%', "%25")),
        }
    }

    async fn ask(&self, query: &str, value: Option<&Semaphore>) -> Result<Answer, LockError> {
        let mut headers = HeaderMap::new();
        let mut body = Bytes::new();
        let mut method = Method::GET;
        if let Some(value) = value {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("value", &value.text())
                .finish();
            body = form.into();
            method = Method::PUT;
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, kind);
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

impl SemaphoreStore for EtcdV2 {
    const HAS_NOTES: bool = false;

    async fn read(&self) -> Result<Option<Found>, LockError> {
        // By consensus: a member that lags behind must not tell a holder that it still is one.
        let answer = self.ask("quorum=true&recursive=false&sorted=false", None).await?;
        match answer.status {
            200 => {
                let NodeAnswer { node } = answer.json()?;
                Ok(Some(Found {
                    semaphore: Semaphore::read(node.value.as_bytes())?,
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
