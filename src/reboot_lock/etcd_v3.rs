//! etcd's v3 API by its JSON gateway: the same JSON under the same key, changed by transactions. No lease: a holder that
//! is dead must stop the others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::LockError;
use super::http::{Answer, Endpoints, Question};
use super::semaphore::Semaphore;
use super::store::{Found, SemaphoreStore, Swap};

/// How etcd refuses those who say no user, and those whose certificate says one. The gateway connects to etcd with a
/// certificate of its own: names in clients' certificates, which count elsewhere, are none here.
const NO_USER: [&str; 2] = ["user name is empty", "CommonName of client"];

/// The semaphore of a group.
#[derive(Debug)]
pub(super) struct EtcdV3 {
    endpoints: Endpoints,
    /// In base64.
    key: String,
    /// Name and password, where etcd wants them.
    login: Option<(String, String)>,
}

#[derive(Debug, Deserialize)]
struct RangeAnswer {
    header: Value,
    /// Left out where there are none.
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    mod_revision: Number,
    #[serde(default)]
    value: String,
}

/// 64-bit numbers travel as strings; a reader takes both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Plain(u64),
}

#[derive(Debug, Deserialize)]
struct TxnAnswer {
    /// Left out where false.
    #[serde(default)]
    succeeded: bool,
    header: Value,
}

#[derive(Debug, Deserialize)]
struct TokenAnswer {
    token: String,
}

impl EtcdV3 {
    pub(super) fn new(endpoints: Endpoints, key: &str, login: Option<(String, String)>) -> Self {
        Self {
            endpoints,
            key: STANDARD.encode(key),
            login,
        }
    }

    async fn post(&self, path: &str, body: &Value, token: Option<HeaderValue>) -> Result<Answer, LockError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, token);
        }
        let question = Question {
            method: Method::POST,
            path: path.to_owned(),
            headers,
            body: body.to_string().into(),
        };
        let answer = self.endpoints.ask(&question).await?;
        match answer.status {
            200 => Ok(answer),
            _ if NO_USER.iter().any(|text| answer.has(text)) => Err(LockError::NoUser { url: answer.url }),
            _ => Err(answer.refused()),
        }
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Answer, LockError> {
        let Some((name, password)) = &self.login else {
            return self.post(path, body, None).await;
        };
        let login = json!({"name": name, "password": password});
        let answer = self.post("/v3/auth/authenticate", &login, None).await?;
        let TokenAnswer { token } = answer.json()?;
        let mut token = HeaderValue::from_str(&token).map_err(|_| answer.nonsense("its token is none"))?;
        token.set_sensitive(true);
        self.post(path, body, Some(token)).await
    }

    /// Writes `semaphore` if `compare` holds.
    async fn write(&self, compare: Value, semaphore: &Semaphore) -> Result<Swap, LockError> {
        let value = STANDARD.encode(semaphore.text());
        let body = json!({
            "compare": [compare],
            "success": [{"request_put": {"key": self.key, "value": value}}],
        });
        let answer = self.ask("/v3/kv/txn", &body).await?;
        let told: TxnAnswer = answer.json()?;
        is_etcds(&answer, &told.header)?;
        Ok(if told.succeeded { Swap::Done } else { Swap::Raced })
    }
}

/// Refuses an answer without etcd's header. Any JSON object would do otherwise: as a key that is missing, which
/// this node can't be a holder of, or as a write that was refused.
fn is_etcds(answer: &Answer, header: &Value) -> Result<(), LockError> {
    if header.is_object() {
        return Ok(());
    }
    Err(answer.nonsense("it has no header"))
}

impl SemaphoreStore for EtcdV3 {
    const HAS_NOTES: bool = true;

    async fn read(&self) -> Result<Option<Found>, LockError> {
        let answer = self.ask("/v3/kv/range", &json!({"key": self.key})).await?;
        let told: RangeAnswer = answer.json()?;
        is_etcds(&answer, &told.header)?;
        let Some(found) = told.kvs.into_iter().next() else {
            return Ok(None);
        };
        let value = STANDARD
            .decode(found.value)
            .map_err(|error| answer.nonsense(error.to_string()))?;
        let revision = match found.mod_revision {
            Number::Plain(number) => number,
            Number::Text(text) => text
                .parse()
                .map_err(|_| answer.nonsense(format!("revision {text:?}")))?,
        };
        Ok(Some(Found {
            semaphore: Semaphore::read(&value).map_err(|fault| answer.nonsense(fault.to_string()))?,
            revision,
        }))
    }

    async fn create(&self, semaphore: &Semaphore) -> Result<Swap, LockError> {
        // Of a missing key every comparison of its value is false: this is the one that can tell.
        let absent = json!({"key": self.key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"});
        self.write(absent, semaphore).await
    }

    async fn replace(&self, before: &Found, semaphore: &Semaphore) -> Result<Swap, LockError> {
        let revision = before.revision.to_string();
        let unchanged =
            json!({"key": self.key, "target": "MOD", "result": "EQUAL", "mod_revision": revision});
        self.write(unchanged, semaphore).await
    }
}
