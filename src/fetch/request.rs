//! What is asked of a server.

use super::Entity;
use crate::net::Credentials;

/// One payload, from one URL.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// An http or https URL.
    pub url: String,
    /// Where the same payload can be had if [`Self::url`] is refused (403, 404, 410) or too slow: each has one go.
    pub fallbacks: Vec<String>,
    /// Offset in bytes of the first byte wanted; 0 for a fresh download.
    pub start: u64,
    /// Which file the bytes before `start` came from, if its server said so then: for the journal. Whether it is the same
    /// payload, hashes say.
    pub entity: Option<Entity>,
    /// Size in bytes of the whole payload, as offered.
    pub size: u64,
    /// For the payload's server; never sent over plain http, nor to a host it redirects to.
    pub credentials: Option<Credentials>,
}
