//! Downloads of payloads and small files: the entry point.

use std::ops::Range;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;

use super::origin::Origin;
use super::{FetchError, FetchRequest, FetchSettings, PayloadStream, RangeStream};

/// Opens payload streams with one set of time-outs and retries.
#[derive(Debug, Clone, Default)]
pub struct Fetcher {
    settings: FetchSettings,
}

impl Fetcher {
    /// A fetcher with these settings.
    #[must_use]
    pub fn new(settings: FetchSettings) -> Self {
        Self { settings }
    }

    /// Requests a payload, and returns once the server has agreed to send it.
    ///
    /// A resumed download that the server can't go on with (no ranges) becomes a fresh
    /// one: [`PayloadStream::start`] tells. One that starts at its end asks nobody, and is empty.
    ///
    /// # Errors
    /// Whatever speaks against this URL or its answer; an HTTP error status at once, no answer
    /// after the settings' retries.
    pub async fn open(&self, request: FetchRequest) -> Result<PayloadStream, FetchError> {
        PayloadStream::open(self.settings.clone(), request, None).await
    }

    /// Requests parts of a payload, in their order; nobody is asked before [`RangeStream::next`].
    /// [`FetchRequest::start`] and its entity don't count.
    #[must_use]
    pub fn ranges(&self, request: FetchRequest, ranges: Vec<Range<u64>>) -> RangeStream {
        RangeStream::new(&self.settings, request, ranges)
    }

    /// Size in bytes of the file at `url`, for files that were offered without a size; `None` if
    /// its server doesn't say. Sends no credentials.
    ///
    /// # Errors
    /// As for [`Self::post`].
    pub async fn size(&self, url: &str) -> Result<Option<u64>, FetchError> {
        let origin = Origin::new(url, None, &self.settings)?;
        let response = origin.insist(|| origin.head(), &self.settings).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(origin.refused(status.as_u16()));
        }
        let length = response.headers().get(CONTENT_LENGTH);
        Ok(length.and_then(|value| value.to_str().ok()?.parse().ok()))
    }

    /// Hands `body` to `url`, which must take it with a status of success (200 to 299). Without
    /// credentials, and with the same retries as a download that gets no answer.
    ///
    /// # Errors
    /// As for [`Self::open`]; any other status is [`FetchError::Status`].
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        body: impl Into<Bytes>,
    ) -> Result<(), FetchError> {
        let (origin, body) = (Origin::new(url, None, &self.settings)?, body.into());
        let response = origin
            .insist(|| origin.post(content_type, body.clone()), &self.settings)
            .await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(origin.refused(status.as_u16()))
    }
}
