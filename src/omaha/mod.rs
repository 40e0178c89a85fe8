//! The Omaha dialect of Flatcar's update servers, protocol 3.0: one POST per check, ping or event.
//!
//! ```text
//!  Config + Machine ─▶ Identity ─┐
//!          CheckEvent | Event ───┴▶ Request ─▶ XML ─▶ Client::post ─▶ Reply ─▶ Response { Offer | no update }
//!                                                         │                        │
//!                                                     PostError ──▶ ErrorCode ◀── ResponseError
//! ```
//!
//! Requests, events and responses are pure; only [`Client`] touches the network. An event's answer
//! means nothing and is not parsed. What became of a payload server's answers is not here but in
//! [`crate::fetch`].

mod client;
mod code;
mod document;
mod encoding;
mod event;
mod explanation;
mod offer;
mod packages;
mod refusal;
mod reply;
mod request;
mod response;

pub use client::{Client, PostError, Retries};
pub use code::{ErrorCode, Flags, HttpStatus, ReportedCode};
pub use event::{AttemptEvent, BootOutcome, CheckEvent};
pub use explanation::{Explanation, reference};
pub use offer::{Backoff, MetadataClaim, Offer, OfferError, PayloadKind};
pub use packages::{
    NameMatch, Need, OfferedPackage, PackageDownload, PackageError, PackagesError, before_hosting, downloads,
    is_file_name, last_parts,
};
pub use refusal::refusals;
pub use reply::Reply;
pub use request::{Body, Deltas, MachineIdentity, NodeIdentity, Request, announcement};
pub use response::{CheckAnswer, Response, ResponseError, WebPage};
