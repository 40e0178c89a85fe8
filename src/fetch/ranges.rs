//! Stream of parts of a payload: the bytes of several ranges, one after the other.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::rate::{Floor, RateLimit};
use super::{FetchError, FetchRequest, FetchSettings, PayloadStream};
use crate::net::redact_url;

/// Connections at a time: one that is read, and those whose answers are waited for meanwhile.
const CONNECTIONS: usize = 4;

/// A server that falls silent for so long is asked again: whoever fetches parts can do without, and
/// shouldn't wait for long.
const SILENCE: Duration = Duration::from_secs(30);

/// The bytes of ranges of one payload, in their order. Each is asked for on a connection of its
/// own, and goes on after interruptions as any download does; but all of them together have the
/// resumptions of one download.
#[derive(Debug)]
pub struct RangeStream {
    /// Of each range: without limit and floor, which are those of all of them together.
    settings: FetchSettings,
    /// Resumptions that are left to the current range and those behind it.
    resumes: u32,
    request: FetchRequest,
    waiting: VecDeque<Range<u64>>,
    /// Those that were asked for, in order. Dropping one ends its connection.
    asked: VecDeque<JoinSet<Result<PayloadStream, FetchError>>>,
    current: Option<PayloadStream>,
    connections: usize,
    limit: Option<RateLimit>,
    floor: Floor,
    /// Bytes that were delivered.
    delivered: u64,
}

impl RangeStream {
    pub(super) fn new(settings: &FetchSettings, request: FetchRequest, ranges: Vec<Range<u64>>) -> Self {
        Self {
            resumes: settings.resumes,
            limit: settings.rate.map(RateLimit::new),
            floor: Floor::new(settings),
            // What comes ahead would come beside the limit.
            connections: settings.rate.map_or(CONNECTIONS, |_| 1),
            settings: FetchSettings {
                rate: None,
                floor: None,
                stall_window: settings.stall_window.min(SILENCE),
                ..settings.clone()
            },
            request,
            waiting: ranges.into(),
            asked: VecDeque::new(),
            current: None,
            delivered: 0,
        }
    }

    /// The next bytes; none after the last ones or after an error. The future may be dropped and
    /// asked for again: nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Bytes, FetchError>> {
        let next = self.try_next().await;
        if !matches!(next, Ok(Some(_))) {
            (self.current, self.waiting, self.asked) = (None, VecDeque::new(), VecDeque::new());
        }
        next.transpose()
    }

    async fn try_next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            self.ask_ahead();
            if let Some(limit) = &self.limit {
                sleep_until(limit.free_at()).await;
            }
            let began = Instant::now();
            if let Some(stream) = &mut self.current {
                let next = stream.next().await.transpose()?;
                let resumes = stream.resumes();
                self.waited(began, next.as_ref().map_or(0, Bytes::len))?;
                if next.is_some() {
                    return Ok(next);
                }
                self.resumes = self.resumes.saturating_sub(resumes);
                self.current = None;
            } else if let Some(asked) = self.asked.front_mut() {
                // One task each; a panic of it is passed on.
                let opened = asked.join_next().await.map(|joined| match joined {
                    Ok(opened) => opened,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                });
                self.asked.pop_front();
                self.current = opened.transpose()?;
                if let Some(stream) = &mut self.current {
                    stream.allow_resumes(self.resumes);
                }
                self.waited(began, 0)?;
            } else {
                return Ok(None);
            }
        }
    }

    fn ask_ahead(&mut self) {
        let open = usize::from(self.current.is_some());
        while self.asked.len() + open < self.connections
            && let Some(range) = self.waiting.pop_front()
        {
            let request = FetchRequest {
                start: range.start,
                entity: None,
                ..self.request.clone()
            };
            let mut asked = JoinSet::new();
            asked.spawn(PayloadStream::open(
                self.settings.clone(),
                request,
                Some(range.end),
            ));
            self.asked.push_back(asked);
        }
    }

    /// Counts `bytes` that came after waiting since `began`.
    fn waited(&mut self, began: Instant, bytes: usize) -> Result<(), FetchError> {
        if let Some(limit) = &mut self.limit {
            limit.spend(Instant::now(), bytes);
        }
        self.delivered = self.delivered.saturating_add(bytes as u64);
        let counted = self.floor.count(began.elapsed(), bytes);
        counted.map_err(|below| FetchError::TooSlow {
            url: redact_url(&self.request.url),
            bytes: below.bytes,
            window: below.window,
            offset: self.delivered,
            size: self.request.size,
        })
    }
}
