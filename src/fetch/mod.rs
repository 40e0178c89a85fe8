//! Downloads of payloads, each byte in order and once; and uploads of small files.
//!
//! ```text
//! open ─▶ GET url                          fresh: no Range header, so the plainest server will do
//!      ─▶ GET url, Range: bytes=n-         resumed
//!            │
//!            ├ 206 and n ──────────▶ bytes from n
//!            ├ 200 ────────────────▶ bytes from 0: ranges not supported; those before n are skipped
//!            ├ 403, 404, 410 ──────▶ the next URL, if there is one
//!            └ anything else ──────▶ refused, by name
//! next ─▶ bytes … bytes … end              exactly as many as the offer says
//!            ├ cut, stall, 5xx ────▶ a pause, then GET from the byte reached, 20 times at most
//!            └ below the floor ────▶ the next URL, from the byte reached
//! ```
//!
//! Of parts of a payload ([`RangeStream`]) each is such a stream, with a last byte of its own; some
//! are asked for ahead, so that a server's distance costs little. All of them together are asked
//! again as often as one download, also if a part behind the first begins with a 5xx. A server without ranges is refused: the whole file would come
//! for each of them.
//!
//! Invariants, whatever a server does: never a byte past the offered size, never a file of
//! another size, never a wait without end, credentials over https only, and https never left by a
//! redirect. The content is not checked here: hashes and signatures are the installer's. So a
//! stream goes on with whatever its server calls the file now: mirrors behind one name give the
//! same bytes other entity tags and dates. Bytes of another file fail the hash of their operation,
//! and the next attempt starts over.
//!
//! `Content-Encoding` is no fault by itself. Nothing but the plain file is asked for, and servers
//! declare `x-gzip` for payloads merely because their names end in `.gz`. Where the bytes are not
//! the payload's, it explains why ([`Encoding`]); so does a page for people.

mod error;
mod fetcher;
mod origin;
mod ranges;
mod rate;
mod response;
mod settings;
mod stream;

pub use crate::net::RedirectFault;
pub use error::{FetchError, Interruption};
pub use fetcher::Fetcher;
pub use origin::FetchRequest;
pub use ranges::RangeStream;
pub use response::{Encoding, Entity};
pub use settings::FetchSettings;
pub use stream::PayloadStream;
