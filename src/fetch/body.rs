//! Body of one response.

use bytes::Bytes;

use super::FetchSettings;
use super::error::Interruption;
use super::response::{Ending, Part};
use super::stall_detector::{StallDetector, TooSlow};
use crate::net::HttpResponse;

#[derive(Debug)]
pub(super) struct DownloadBody {
    response: HttpResponse,
    ending: Ending,
    pace: StallDetector,
    position: u64,
}

/// End of a body.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection broke.
    Off(Interruption),
    /// The server said that the file ends here.
    End,
}

impl DownloadBody {
    pub(super) fn new(response: HttpResponse, part: &Part, settings: &FetchSettings) -> Self {
        Self {
            response,
            ending: part.ending,
            pace: StallDetector::new(settings),
            position: part.start,
        }
    }

    /// Offset in the file of the next byte.
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

    /// Whether bytes follow after the expected last one. A body with an announced length has none;
    /// for others, the way in which the connection ends doesn't matter.
    pub(super) async fn goes_on(&mut self) -> bool {
        self.ending != Ending::Counted && self.read().await.is_ok()
    }
}
