//! Credentials: user name and password for one server.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use percent_encoding::percent_decode_str;

/// User name and password. Bytes, since URLs may hold any.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name as it is sent: percent-encoding is undone.
    pub user: Vec<u8>,
    /// Password; may be empty.
    pub password: Vec<u8>,
}

impl Credentials {
    /// Credentials from a configuration file.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.as_bytes().to_vec(),
            password: password.as_bytes().to_vec(),
        }
    }

    /// Credentials from a URL, in which they are percent-encoded; `None` if it has none.
    pub(super) fn in_url(user: &str, password: Option<&str>) -> Option<Self> {
        let decoded = |text: &str| percent_decode_str(text).collect();
        (!user.is_empty() || password.is_some()).then(|| Self {
            user: decoded(user),
            password: password.map(decoded).unwrap_or_default(),
        })
    }

    /// Value of the headers `Authorization` and `Proxy-Authorization`.
    pub(super) fn basic(&self) -> HeaderValue {
        let pair = [&self.user[..], b":", &self.password].concat();
        // Invariant: letters, digits, `+`, `/` and `=` are fit for a header.
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}
