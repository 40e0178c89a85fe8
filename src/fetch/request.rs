//! Request for a payload.

use super::Entity;
use crate::net::Credentials;

/// A download of one payload.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// An http or https URL.
    pub url: String,
    /// Further URLs of the same payload, each tried once if the one before is refused (403, 404,
    /// 410) or too slow.
    pub fallbacks: Vec<String>,
    /// Offset in bytes of the first byte wanted; 0 for a fresh download.
    pub start: u64,
    /// Version of the file that the bytes before `start` came from, if its server named one. For
    /// the journal only: hashes decide whether it is the same payload.
    pub entity: Option<Entity>,
    /// Size in bytes of the whole payload, as offered.
    pub size: u64,
    /// For the payload's server; never sent over plain http, nor to a host it redirects to.
    pub credentials: Option<Credentials>,
}
