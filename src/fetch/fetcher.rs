//! Opens payload streams.

use super::{FetchError, FetchRequest, FetchSettings, PayloadStream};

/// Opens payload streams.
#[derive(Debug, Clone, Default)]
pub struct Fetcher {
    settings: FetchSettings,
}

impl Fetcher {
    /// A fetcher with this patience.
    #[must_use]
    pub fn new(settings: FetchSettings) -> Self {
        Self { settings }
    }

    /// Asks for a payload, and returns once the server has agreed to send it.
    ///
    /// A resumed download that the server can't go on with (no ranges, a changed file) becomes a fresh
    /// one: [`PayloadStream::start`] tells. One that starts at its end asks nobody, and is empty.
    ///
    /// # Errors
    /// Whatever speaks against this URL or its answer; an HTTP error status at once, no answer after
    /// the settings' retries.
    pub async fn open(&self, request: FetchRequest) -> Result<PayloadStream, FetchError> {
        PayloadStream::open(self.settings.clone(), request).await
    }
}
