//! Why a payload does not come.

use std::time::Duration;

use crate::net::{NetError, RedirectFault, UrlFault, login_wanted};

/// Why a payload does not come, or not all of it. URLs are shown without user, password and query.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that payloads are fetched from.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// As this machine is set up, nobody can be asked.
    #[error("{url} can't be asked")]
    Unaskable {
        /// What was to be asked for.
        url: String,
        /// Why not.
        source: Box<NetError>,
    },
    /// A download was to go on past its end.
    #[error("cannot go on at byte {start} of a payload of {size} bytes")]
    StartPastEnd {
        /// First byte wanted.
        start: u64,
        /// Size offered.
        size: u64,
    },
    /// No HTTP answer: name, connection, TLS or protocol failed, time and again.
    #[error("no answer from {url} in {tries} tries")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// How often.
        tries: u32,
        /// The last failure.
        source: Interruption,
    },
    /// An HTTP status other than success.
    #[error("{url} answers {status}{}", login_wanted(*status).unwrap_or_default())]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server wants a password, and that of the configuration was not sent to it.
    #[error("{url} answers {status}; DOWNLOAD_PASSWORD was not sent there: it goes over https only")]
    PasswordWithheld {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A redirect that is not followed.
    #[error("the redirect from {url} is not followed: {fault}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Why.
        fault: RedirectFault,
    },
    /// The file has another size than the offered payload.
    #[error("{url} is {served} bytes long, the offered payload {offered}")]
    WrongSize {
        /// What was asked for.
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
        /// What was asked for.
        url: String,
        /// What the header says.
        encoding: String,
        /// What is wrong with the bytes as they came.
        source: Box<FetchError>,
    },
    /// A page for people in the place of the file.
    #[error("{url} gave a {} instead of the file{}", page(from.as_ref()), at(from.as_ref()))]
    WebPage {
        /// What was asked for.
        url: String,
        /// Where a redirect to another server had led.
        from: Option<String>,
        /// What is wrong with the bytes as they came.
        source: Box<FetchError>,
    },
    /// The server sends more than the payload's size.
    #[error("{url} goes on after the {offered} bytes of the offered payload")]
    TooLong {
        /// What was asked for.
        url: String,
        /// Size offered, in bytes.
        offered: u64,
    },
    /// A partial answer that is not the part asked for.
    #[error("{url} was asked for bytes from {start} and answers with {answer:?}")]
    WrongRange {
        /// What was asked for.
        url: String,
        /// First byte wanted.
        start: u64,
        /// The `Content-Range` it gave, or what stands for its lack.
        answer: String,
    },
    /// It comes more slowly than any link that is worth waiting for.
    #[error("{url} brought {bytes} bytes in {} s, up to byte {offset} of {size}: too slow", window.as_secs())]
    TooSlow {
        /// What was asked for.
        url: String,
        /// Bytes that came in the last window.
        bytes: u64,
        /// Its length.
        window: Duration,
        /// Bytes that have come, the resumed part included.
        offset: u64,
        /// Size offered, in bytes.
        size: u64,
    },
    /// The transfer broke off again and again.
    #[error("{url} broke off at byte {offset} of {size}, after {resumes} resumptions")]
    Interrupted {
        /// What was asked for.
        url: String,
        /// Bytes that had come, the resumed part included.
        offset: u64,
        /// Size offered, in bytes.
        size: u64,
        /// How often it had been taken up again.
        resumes: u32,
        /// The last interruption.
        source: Interruption,
    },
}

/// Networks that want a login lead every request to a page for it.
const fn page(from: Option<&String>) -> &'static str {
    if from.is_some() { "login page" } else { "web page" }
}

fn at(from: Option<&String>) -> String {
    match from {
        Some(from) => format!(" ({from}): the network, or a proxy in it, may want a login first"),
        None => ": it may not be there".to_owned(),
    }
}

/// Why a transfer broke off.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    /// The connection failed or could not be made again.
    #[error("the connection failed")]
    Connection(#[source] Box<NetError>),
    /// The server closed the connection early.
    #[error("the server ended the transfer early")]
    Closed,
    /// Too few bytes came for too long.
    #[error("fewer than {bytes} bytes came in {window:?}")]
    Stalled {
        /// The least that would have done.
        bytes: u64,
        /// In this time.
        window: Duration,
    },
    /// The server answered a resumption with a status that may pass.
    #[error("the server answered {0}")]
    Status(u16),
}

impl FetchError {
    /// Whether the same payload may well be had from another URL: this one has none, or gives it too slowly.
    pub(super) const fn lets_another_url_try(&self) -> bool {
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
