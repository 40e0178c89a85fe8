//! Journal of requests and answers, for tests and observers.

use std::collections::VecDeque;

use tokio::sync::watch;

use super::question::{Ask, NodeEvent, OmahaQuestion};

/// Records kept; older ones are forgotten.
const CAPACITY: usize = 10_000;

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestRecord {
    /// An Omaha request that was answered.
    Omaha(Exchange),
    /// A request for a package.
    Download(Download),
    /// A request that this server doesn't answer.
    Refused {
        /// Method and path.
        request: String,
        /// The answer's status code.
        status: u16,
        /// Explanation, a sentence.
        reason: String,
    },
}

/// An Omaha request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The request's body, byte for byte.
    pub body: String,
    /// The request as parsed.
    pub question: OmahaQuestion,
    /// The version offered in the answer, if one was.
    pub offered: Option<String>,
}

impl Exchange {
    /// The events it carried.
    pub fn events(&self) -> impl Iterator<Item = &NodeEvent> {
        self.question.asks.iter().filter_map(|ask| match ask {
            Ask::Event(event) => Some(event),
            Ask::Ping | Ask::UpdateCheck => None,
        })
    }

    /// Whether it asked for an update.
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.question.asks.contains(&Ask::UpdateCheck)
    }
}

/// A download as requested; recorded when the response begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Name of the package.
    pub name: String,
    /// The `Range` header as it came.
    pub range: Option<String>,
    /// The `If-Range` header as it came.
    pub if_range: Option<String>,
    /// Status code of the answer.
    pub status: u16,
    /// Offset of the first byte sent.
    pub first: u64,
    /// Bytes promised from there on.
    pub len: u64,
}

/// The requests of a server, oldest first. Clones see the same records.
#[derive(Debug, Clone, Default)]
pub struct RequestJournal(watch::Sender<VecDeque<RequestRecord>>);

impl RequestJournal {
    pub(super) fn push(&self, record: RequestRecord) {
        self.0.send_modify(|records| {
            if records.len() == CAPACITY {
                records.pop_front();
            }
            records.push_back(record);
        });
    }

    /// All records up to now.
    #[must_use]
    pub fn records(&self) -> Vec<RequestRecord> {
        self.0.borrow().iter().cloned().collect()
    }

    /// The Omaha exchanges up to now.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        let omaha = |record| {
            if let RequestRecord::Omaha(exchange) = record {
                Some(exchange)
            } else {
                None
            }
        };
        self.records().into_iter().filter_map(omaha).collect()
    }

    /// Type and result of every event up to now (`(13, 1)`: a download began), the tests' usual
    /// question.
    #[must_use]
    pub fn events(&self) -> Vec<NodeEvent> {
        self.exchanges()
            .iter()
            .flat_map(|exchange| exchange.events().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The downloads up to now.
    #[must_use]
    pub fn downloads(&self) -> Vec<Download> {
        let download = |record| {
            if let RequestRecord::Download(download) = record {
                Some(download)
            } else {
                None
            }
        };
        self.records().into_iter().filter_map(download).collect()
    }

    /// Removes all records up to now.
    pub fn clear(&self) {
        self.0.send_replace(VecDeque::new());
    }

    /// Returns once a record satisfies `condition`: one that is there already, or one to come.
    pub async fn wait_for(&self, mut condition: impl FnMut(&RequestRecord) -> bool) {
        let mut changes = self.0.subscribe();
        // Fails only when the sender is gone, and we hold it.
        let _ = changes
            .wait_for(|records| records.iter().any(&mut condition))
            .await;
    }
}
