//! The body of one answer.

use bytes::Bytes;

use super::FetchSettings;
use super::error::Interruption;
use super::pace::{Pace, TooSlow};
use super::response::{Ending, Part};
use crate::net::HttpResponse;

#[derive(Debug)]
pub(super) struct Body {
    response: HttpResponse,
    ending: Ending,
    pace: Pace,
    position: u64,
}

/// Why a body brings no more bytes.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection is gone.
    Off(Interruption),
    /// The file ends here, and the server says so.
    End,
}

impl Body {
    pub(super) fn new(response: HttpResponse, part: &Part, settings: &FetchSettings) -> Self {
        Self {
            response,
            ending: part.ending,
            pace: Pace::new(settings),
            position: part.start,
        }
    }

    /// Offset in the file of the byte that comes next.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) async fn read(&mut self) -> Result<Bytes, Broken> {
        match self.pace.wait(self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.pace.arrived(bytes.len());
                self.position = self.position.saturating_add(bytes.len() as u64);
                Ok(bytes)
            }
            Ok(Ok(None)) if self.ending == Ending::WholeFile => Err(Broken::End),
            Ok(Ok(None)) => Err(Broken::Off(Interruption::Closed)),
            Ok(Err(error)) => Err(Broken::Off(Interruption::Connection(Box::new(error)))),
            Err(TooSlow) => Err(Broken::Off(self.pace.stalled())),
        }
    }

    /// Whether bytes follow where the last one should have been. A body whose length was announced has
    /// none; how the connection of another one ends is no matter.
    pub(super) async fn goes_on(&mut self) -> bool {
        self.ending != Ending::Counted && self.read().await.is_ok()
    }
}
