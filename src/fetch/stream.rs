//! Stream of a payload across several connections.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use super::error::Interruption;
use super::origin::{FallbackUrls, Origin};
use super::rate::{Floor, RateLimit};
use super::response::{Asked, Broken, DownloadBody, Encoding, Part, judge};
use super::{Entity, FetchError, FetchRequest, FetchSettings};
use crate::net::{HttpRequest, HttpResponse, content_encoding};

/// The bytes of one payload, in order.
#[derive(Debug)]
pub struct PayloadStream {
    settings: FetchSettings,
    origin: Origin,
    fallbacks: FallbackUrls,
    size: u64,
    start: u64,
    /// Offset after the last byte wanted, where that isn't the payload's last.
    end: Option<u64>,
    /// Offset of the next byte to deliver.
    offset: u64,
    entity: Option<Entity>,
    encoding: Arc<Encoding>,
    resumes: u32,
    source: Source,
    limit: Option<RateLimit>,
    floor: Floor,
}

/// Source of the next bytes.
#[derive(Debug)]
enum Source {
    /// A connection in use. Its position is below the offset while bytes are skipped, never above
    /// it.
    Body(Box<DownloadBody>),
    /// A new request, at this time.
    Request { at: Instant },
    /// A server that was busy. Whether it is asked again is told once bytes are wanted.
    Busy { status: u16 },
    /// None: everything is delivered, or the stream failed.
    Ended,
}

impl PayloadStream {
    /// Requests a payload; see [`super::Fetcher::open`]. With an `end` only the bytes before it, of
    /// a server that has ranges.
    pub(super) async fn open(
        settings: FetchSettings,
        request: FetchRequest,
        end: Option<u64>,
    ) -> Result<Self, FetchError> {
        let FetchRequest {
            url,
            fallbacks,
            start,
            entity,
            size,
            credentials,
        } = request;
        if start > size {
            return Err(FetchError::StartPastEnd { start, size });
        }
        let mut fallbacks = FallbackUrls::new(fallbacks, credentials);
        let origin = fallbacks.first(&url, &settings)?;
        let (offset, resumes, source) = (start, 0, Source::Ended);
        let (limit, floor) = (settings.rate.map(RateLimit::new), Floor::new(&settings));
        let mut stream = Self {
            settings,
            origin,
            fallbacks,
            size,
            start,
            end,
            offset,
            entity,
            encoding: Arc::default(),
            resumes,
            source,
            limit,
            floor,
        };
        if start < stream.end() {
            stream.begin().await?;
        }
        Ok(stream)
    }

    /// Offset of the first byte that [`Self::next`] delivered or will deliver: what was asked for,
    /// or 0 when the download had to begin anew.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Changes how often it may be asked for again: since it was opened, others may have used that.
    pub(super) const fn allow_resumes(&mut self, resumes: u32) {
        self.settings.resumes = resumes;
    }

    /// How often the current URL was asked again after an interruption.
    pub(super) const fn resumes(&self) -> u32 {
        self.resumes
    }

    /// Offset after the last byte that is delivered.
    fn end(&self) -> u64 {
        self.end.unwrap_or(self.size)
    }

    /// Which file the server is sending, for resuming later; none if it doesn't say.
    #[must_use]
    pub fn entity(&self) -> Option<&Entity> {
        self.entity.as_ref()
    }

    /// The encoding in which bytes come, updated with each response.
    #[must_use]
    pub fn encoding(&self) -> Arc<Encoding> {
        Arc::clone(&self.encoding)
    }

    /// The next bytes; none after the last one or after an error. Interruptions are bridged here.
    /// The future may be dropped and asked for again: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        let next = self.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            self.source = Source::Ended;
        }
        next.transpose()
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let is_complete = self.offset == self.end();
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::Request { at } => {
                    let (at, began) = (*at, Instant::now());
                    sleep_until(at).await;
                    let resumed = self.resume().await;
                    let fast_enough = self.waited(began.elapsed(), 0);
                    resumed.and(fast_enough).or_else(|error| self.move_on(error))?;
                }
                Source::Busy { status } => {
                    let status = *status;
                    self.broke_off(Interruption::Status(status))?;
                }
                Source::Body(body) if is_complete => {
                    let too_long = body.goes_on().await;
                    return if too_long { Err(self.too_long()) } else { Ok(None) };
                }
                Source::Body(body) => {
                    let (came, waited) = read(body, self.limit.as_mut()).await;
                    let position = body.position();
                    if let Err(error) = self.waited(waited, came.as_ref().map_or(0, Bytes::len)) {
                        self.move_on(error)?;
                        continue;
                    }
                    match came {
                        Ok(bytes) => {
                            if let Some(new) = self.accept(bytes, position)? {
                                return Ok(Some(new));
                            }
                        }
                        Err(Broken::Off(why)) => self.broke_off(why)?,
                        Err(Broken::End) => return Err(self.too_short(position)),
                    }
                }
            }
        }
    }

    /// Cuts off of `bytes`, which end at `position`, what was delivered before, and refuses what
    /// lies past the payload's end. `None` when nothing of it is new.
    fn accept(&mut self, mut bytes: Bytes, position: u64) -> Result<Option<Bytes>, FetchError> {
        if position > self.end() {
            return Err(self.too_long());
        }
        let Some(new) = position.checked_sub(self.offset).filter(|new| *new > 0) else {
            return Ok(None);
        };
        // At most the whole of `bytes`, since a body never starts past our offset.
        let new = usize::try_from(new).map_or(bytes.len(), |new| new.min(bytes.len()));
        let new = bytes.split_off(bytes.len() - new);
        self.offset = position;
        Ok(Some(new))
    }

    /// Plans the next request, unless the resumptions are used up.
    fn broke_off(&mut self, why: Interruption) -> Result<(), FetchError> {
        if self.resumes >= self.settings.resumes {
            return Err(self.interrupted(why));
        }
        self.resumes += 1;
        tracing::info!(
            offset = self.offset,
            resumption = self.resumes,
            reason = &why as &dyn Error,
            "the download broke off and will go on"
        );
        self.source = Source::Request {
            at: Instant::now() + self.settings.delay_before(self.resumes),
        };
        Ok(())
    }

    /// Counts `bytes` that came after waiting for `time`.
    fn waited(&mut self, time: Duration, bytes: usize) -> Result<(), FetchError> {
        self.floor
            .count(time, bytes)
            .map_err(|below| FetchError::TooSlow {
                url: self.origin.shown().to_owned(),
                bytes: below.bytes,
                window: below.window,
                offset: self.offset,
                size: self.size,
            })
    }

    /// Continues with the next URL, if `error` permits it and there is one.
    fn move_on(&mut self, error: FetchError) -> Result<(), FetchError> {
        if !error.lets_another_url_try() {
            return Err(error);
        }
        let Some(origin) = self.fallbacks.next(&self.settings) else {
            return Err(error);
        };
        tracing::warn!(error = &error as &dyn Error, "going on from {}", origin.shown());
        self.resumes = 0;
        self.origin = origin;
        self.floor = Floor::new(&self.settings);
        self.source = Source::Request { at: Instant::now() };
        Ok(())
    }

    /// Requests the rest. A server without ranges sends the whole file, which is skipped through.
    async fn resume(&mut self) -> Result<(), FetchError> {
        let response = match self.origin.send(self.request(), &self.settings).await? {
            Ok(response) => response,
            Err(why) => return self.broke_off(why),
        };
        if let Some(status) = passing_status(&response) {
            return self.broke_off(Interruption::Status(status));
        }
        let part = self.judge(&response)?;
        self.take(response, part);
        Ok(())
    }

    /// The first request; a second one without a range if the response to the first makes no sense.
    async fn begin(&mut self) -> Result<(), FetchError> {
        while let Err(error) = self.begin_here().await {
            self.move_on(error)?;
        }
        Ok(())
    }

    async fn begin_here(&mut self) -> Result<(), FetchError> {
        let response = self.first_answer().await?;
        if let Some(status) = passing_status(&response).filter(|_| self.has_come_before()) {
            self.source = Source::Busy { status };
            return Ok(());
        }
        match self.judge(&response) {
            Ok(part) => self.begin_with(response, part),
            Err(error @ FetchError::WrongRange { .. }) if self.start > 0 && self.end.is_none() => {
                tracing::info!(error = &error as &dyn Error, "downloading from the beginning");
                self.begin_anew();
                let response = self.first_answer().await?;
                let part = self.judge(&response)?;
                self.take(response, part);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// If the whole file comes instead of the rest, skips to the rest if its server names the same
    /// version; otherwise the caller sees that the stream begins at 0.
    fn begin_with(&mut self, response: HttpResponse, part: Part) {
        let same = self.entity.is_some() && part.entity == self.entity;
        if part.start < self.start && !same {
            self.begin_anew();
        }
        self.take(response, part);
    }

    /// Whether this is a part behind others of the same file, whose bytes would be lost for one bad moment
    /// of the server.
    const fn has_come_before(&self) -> bool {
        self.end.is_some() && self.start > 0
    }

    fn begin_anew(&mut self) {
        (self.start, self.offset, self.entity) = (0, 0, None);
    }

    async fn first_answer(&self) -> Result<HttpResponse, FetchError> {
        self.origin.insist(|| self.request(), &self.settings).await
    }

    fn take(&mut self, response: HttpResponse, part: Part) {
        if let (Some(was), Some(is)) = (&self.entity, &part.entity)
            && was != is
        {
            tracing::info!(
                "the file was {was} and is {is} now: its hashes tell whether it is the same payload"
            );
        }
        self.encoding.set(content_encoding(response.headers()));
        self.source = Source::Body(Box::new(DownloadBody::new(response, &part, &self.settings)));
        self.entity = part.entity;
    }

    /// Names the encoding as the cause of a wrong size.
    fn explain(&self, error: FetchError) -> FetchError {
        match self.encoding.get() {
            Some(encoding) => FetchError::Encoded {
                url: self.origin.shown().to_owned(),
                encoding,
                source: Box::new(error),
            },
            None => error,
        }
    }

    fn request(&self) -> HttpRequest {
        self.origin.get(self.offset, self.end)
    }

    fn judge(&self, response: &HttpResponse) -> Result<Part, FetchError> {
        judge(response.status(), response.headers(), &self.asked()).map_err(|error| match error {
            FetchError::Status { status, .. } => self.origin.refused(status),
            error @ FetchError::WrongSize { .. } => self.origin.explain(error, response),
            error => error,
        })
    }

    fn asked(&self) -> Asked<'_> {
        let entity = self.entity.as_ref();
        Asked {
            url: self.origin.shown(),
            start: self.offset,
            end: self.end,
            size: self.size,
            entity,
        }
    }

    fn too_long(&self) -> FetchError {
        self.explain(FetchError::TooLong {
            url: self.origin.shown().to_owned(),
            offered: self.size,
        })
    }

    fn too_short(&self, served: u64) -> FetchError {
        self.explain(FetchError::WrongSize {
            url: self.origin.shown().to_owned(),
            offered: self.size,
            served,
        })
    }

    fn interrupted(&self, source: Interruption) -> FetchError {
        let Self {
            offset,
            size,
            resumes,
            ..
        } = *self;
        FetchError::Interrupted {
            url: self.origin.shown().to_owned(),
            offset,
            size,
            resumes,
            source,
        }
    }
}

/// Reads once the limit allows. Waiting for the limit doesn't count as a stall. Also returns the
/// time spent waiting for the server.
async fn read(body: &mut DownloadBody, limit: Option<&mut RateLimit>) -> (Result<Bytes, Broken>, Duration) {
    if let Some(limit) = &limit {
        sleep_until(limit.free_at()).await;
    }
    let began = Instant::now();
    let came = body.read().await;
    let waited = began.elapsed();
    if let (Some(limit), Ok(bytes)) = (limit, &came) {
        limit.spend(Instant::now(), bytes.len());
    }
    (came, waited)
}

/// The status of `response`, if it means "later" rather than "no".
fn passing_status(response: &HttpResponse) -> Option<u16> {
    let status = response.status().as_u16();
    (matches!(status, 408 | 429) || status >= 500).then_some(status)
}
