//! Progress of an update, followed until its end.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::timeout;
use zbus::MatchRule;
use zbus::MessageStream;
use zbus::message::Type;

use super::page;
use super::remote::{Remote, RemoteError};
use crate::bus::ENGINE_PATH;
use crate::printable::printable;
use crate::status::Overview;

/// After this time without a signal the engine is asked anyway: it may have been restarted.
const SILENCE: Duration = Duration::from_secs(5);

/// Stream of the engine's overviews.
pub(super) struct Follower<'a> {
    remote: &'a Remote,
    signals: MessageStream,
}

impl<'a> Follower<'a> {
    /// Subscribes to changes from now on.
    pub(super) async fn new(remote: &'a Remote) -> Result<Self, RemoteError> {
        // Nothing but these, also where there is no bus: answers that nobody takes out of the
        // stream would block the connection.
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .path(ENGINE_PATH)
            .member("PropertiesChanged")
            .build()?;
        let signals = MessageStream::for_match_rule(rule, &remote.connection, None).await?;
        Ok(Self { remote, signals })
    }

    /// The overview after the next change.
    pub(super) async fn next(&mut self) -> Result<Overview, RemoteError> {
        let _ = timeout(SILENCE, self.signals.next()).await;
        self.remote.overview().await
    }
}

/// Display of progress: a bar that is redrawn on a terminal; elsewhere lines, one for each change
/// of the state and each ten percent.
#[derive(Default)]
pub(super) struct ProgressDisplay {
    last: String,
    tenth: u64,
}

impl ProgressDisplay {
    pub(super) fn tell(&mut self, overview: &Overview) {
        let mut output = std::io::stdout();
        let line = self.line(overview, output.is_terminal());
        // A reader that has gone away is no reason to fail.
        if let Some(line) = line {
            let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
        }
    }

    fn line(&mut self, overview: &Overview, on_terminal: bool) -> Option<String> {
        let news = overview.summary != self.last;
        self.last.clone_from(&overview.summary);
        let Some(transfer) = &overview.progress.0 else {
            let over = if on_terminal { "\r\x1b[K" } else { "" };
            return news.then(|| format!("{over}{}\n", printable(&overview.summary)));
        };
        if on_terminal {
            return Some(format!("\r\x1b[K{}", page::bar(transfer)));
        }
        let tenth = transfer
            .bytes_done
            .saturating_mul(10)
            .checked_div(transfer.bytes_total)
            .unwrap_or(10);
        let is_due = news || tenth > self.tenth;
        self.tenth = tenth;
        is_due.then(|| format!("{}: {}\n", printable(&overview.summary), transfer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Transfer;

    fn downloading(bytes_done: u64) -> Overview {
        let transfer = Transfer {
            bytes_done,
            bytes_total: 100,
            bytes_per_second: Some(5),
            eta_seconds: Some(3),
            content_package: None,
        };
        Overview {
            summary: "downloading".to_owned(),
            progress: Some(transfer).into(),
            ..Overview::default()
        }
    }

    #[test]
    fn elsewhere_than_on_a_terminal_each_tenth_is_a_line() {
        let mut display = ProgressDisplay::default();
        let lines: Vec<_> = (0..=100)
            .filter_map(|done| display.line(&downloading(done), false))
            .collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[5], "downloading: 50 %, 50 B of 100 B, 5 B/s, 3 s left\n");
    }

    #[test]
    fn on_a_terminal_the_bar_is_drawn_over_itself_and_what_follows_over_the_bar() {
        let mut display = ProgressDisplay::default();
        let bar = display.line(&downloading(50), true);
        let drawn = "\r\x1b[K[############             ] 50 %, 50 B of 100 B, 5 B/s, 3 s left";
        assert_eq!(bar.as_deref(), Some(drawn));
        let done = Overview {
            summary: "done".to_owned(),
            ..Overview::default()
        };
        assert_eq!(display.line(&done, true).as_deref(), Some("\r\x1b[Kdone\n"));
        assert_eq!(display.line(&done, true), None, "said once");
    }
}
