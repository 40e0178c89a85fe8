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

mod announcement;
mod client;
mod code;
mod document;
mod escape;
mod event;
mod explanation;
mod identity;
mod offer;
mod package_name;
mod packages;
mod refusal;
mod reply;
mod request;
mod response;
mod web_page;

pub use announcement::announcement;
pub use client::{Client, PostError, Retries};
pub use code::{ErrorCode, Flags, HttpStatus, ReportedCode};
pub use event::{BootOutcome, CheckEvent, Event};
pub use explanation::{Explanation, reference};
pub use identity::{MachineIdentity, NodeIdentity};
pub use offer::{Backoff, MetadataClaim, Offer, OfferError, PayloadKind};
pub use package_name::{NameMatch, before_hosting, is_file_name, last_parts};
pub use packages::{Need, OfferedPackage, PackageDownload, PackageError, PackagesError, downloads};
pub use refusal::refusals;
pub use reply::Reply;
pub use request::{Body, Deltas, Request};
pub use response::{Answer, Response, ResponseError};
pub use web_page::WebPage;
