//! Errors of downloads.

use std::time::Duration;

use crate::net::{NetError, RedirectFault, UrlFault, login_wanted};

/// Error that ends a download. URLs are shown without user, password and query.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that payloads are fetched from.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// The machine's settings (such as its proxy) make the request impossible.
    #[error("{url} can't be asked")]
    Unaskable {
        /// URL of the request, without user, password and query.
        url: String,
        /// The underlying error.
        source: Box<NetError>,
    },
    /// A download was to resume past its end.
    #[error("cannot go on at byte {start} of a payload of {size} bytes")]
    StartPastEnd {
        /// Offset of the first byte wanted.
        start: u64,
        /// Size of the payload as offered, in bytes.
        size: u64,
    },
    /// No HTTP response after all tries: name, connection, TLS or protocol failed.
    #[error("no answer from {url} in {tries} tries")]
    NoAnswer {
        /// URL of the request, without user, password and query.
        url: String,
        /// Number of requests made.
        tries: u32,
        /// The last failure.
        source: Interruption,
    },
    /// An HTTP status other than success.
    #[error("{url} answers {status}{}", login_wanted(*status).unwrap_or_default())]
    Status {
        /// URL of the request, without user, password and query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server wants a password, and that of the configuration was not sent to it.
    #[error("{url} answers {status}; DOWNLOAD_PASSWORD was not sent there: it goes over https only")]
    PasswordWithheld {
        /// URL of the request, without user, password and query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect that is not followed.
    #[error("the redirect from {url} is not followed: {fault}")]
    Redirect {
        /// URL of the request, without user, password and query.
        url: String,
        /// The rule that the redirect breaks.
        fault: RedirectFault,
    },
    /// The file has another size than the offered payload.
    #[error("{url} is {served} bytes long, the offered payload {offered}")]
    WrongSize {
        /// URL of the request, without user, password and query.
        url: String,
        /// Size offered, in bytes.
        offered: u64,
        /// Size the server states, or turned out to have.
        served: u64,
    },
    /// The file is not the payload, and came in an encoding that was not asked for.
    #[error(
        "{url} came in Content-Encoding {encoding:?}, which was not asked for: its server, or a proxy before it, must send it as it is"
    )]
    Encoded {
        /// URL of the request, without user, password and query.
        url: String,
        /// Value of the header, at most 60 characters.
        encoding: String,
        /// Error of the bytes as received.
        source: Box<FetchError>,
    },
    /// A web page in place of the file.
    #[error("{url} gave a {} instead of the file{}", page(from.as_ref()), at(from.as_ref()))]
    WebPage {
        /// URL of the request, without user, password and query.
        url: String,
        /// URL to which a redirect to another server led, as shown.
        from: Option<String>,
        /// Error of the bytes as received.
        source: Box<FetchError>,
    },
    /// The server sends more than the payload's size.
    #[error("{url} goes on after the {offered} bytes of the offered payload")]
    TooLong {
        /// URL of the request, without user, password and query.
        url: String,
        /// Size offered, in bytes.
        offered: u64,
    },
    /// A partial answer that is not the part asked for.
    #[error("{url} was asked for bytes from {start} and answers with {answer:?}")]
    WrongRange {
        /// URL of the request, without user, password and query.
        url: String,
        /// Offset of the first byte wanted.
        start: u64,
        /// The `Content-Range` of the response, or a text for its absence.
        answer: String,
    },
    /// Part of a file was asked for, and the whole of it came.
    #[error("{url} was asked for a part of the file and gives the whole: its server has no ranges")]
    NoRanges {
        /// URL of the request, without user, password and query.
        url: String,
    },
    /// The server delivers less than the floor.
    #[error("{url} brought {bytes} bytes in {} s, up to byte {offset} of {size}: too slow", window.as_secs())]
    TooSlow {
        /// URL of the request, without user, password and query.
        url: String,
        /// Bytes received in the last window.
        bytes: u64,
        /// Length of the window.
        window: Duration,
        /// Bytes received, the resumed part included.
        offset: u64,
        /// Size offered, in bytes.
        size: u64,
    },
    /// The transfer broke off again and again.
    #[error("{url} broke off at byte {offset} of {size}, after {resumes} resumptions")]
    Interrupted {
        /// URL of the request, without user, password and query.
        url: String,
        /// Bytes received, the resumed part included.
        offset: u64,
        /// Size offered, in bytes.
        size: u64,
        /// Number of resumptions.
        resumes: u32,
        /// The last interruption.
        source: Interruption,
    },
}

/// Text for a web page: networks that require a login redirect every request to a login page.
const fn page(from: Option<&String>) -> &'static str {
    if from.is_some() { "login page" } else { "web page" }
}

fn at(from: Option<&String>) -> String {
    match from {
        Some(from) => format!(" ({from}): the network, or a proxy in it, may want a login first"),
        None => ": it may not be there".to_owned(),
    }
}

/// Interruption of a transfer, which may be resumed.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The connection failed or could not be made again.
    #[error("the connection failed")]
    Connection(#[source] Box<NetError>),
    /// The server closed the connection early.
    #[error("the server ended the transfer early")]
    Closed,
    /// Fewer bytes than the quota came within the window.
    #[error("fewer than {bytes} bytes came in {window:?}")]
    Stalled {
        /// The quota, in bytes.
        bytes: u64,
        /// Length of the window.
        window: Duration,
    },
    /// The server answered a resumption with a status that may pass.
    #[error("the server answered {0}")]
    Status(u16),
}

impl FetchError {
    /// Whether the next URL is tried: this one doesn't have the payload, or delivers it too slowly.
    #[must_use]
    pub const fn lets_another_url_try(&self) -> bool {
        match self {
            Self::Status { status, .. } | Self::PasswordWithheld { status, .. } => {
                matches!(status, 403 | 404 | 410)
            }
            Self::TooSlow { .. } => true,
            _ => false,
        }
    }

    /// The HTTP status that ended the download, if one did.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. }
            | Self::PasswordWithheld { status, .. }
            | Self::Interrupted {
                source: Interruption::Status(status),
                ..
            } => Some(*status),
            _ => None,
        }
    }
}
