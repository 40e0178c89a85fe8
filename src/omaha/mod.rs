//! The Omaha dialect of Flatcar's update servers, protocol 3.0: one POST per question or piece of news.
//!
//! ```text
//!  Config + Machine ─▶ Identity ─┐
//!          CheckEvent | Event ───┴▶ Request ─▶ XML ─▶ Client::post ─▶ Reply ─▶ Response { Offer | no update }
//!                                                         │                        │
//!                                                     PostError ──▶ ErrorCode ◀── ResponseError
//! ```
//!
//! Requests, events and responses are pure; only [`Client`] touches the network. An event's answer means
//! nothing and is not parsed. What became of a payload server's answers is not here but in [`crate::fetch`].

mod advice;
mod client;
mod code;
mod document;
mod escape;
mod event;
mod extras;
mod identity;
mod offer;
mod package_name;
mod packages;
mod refusal;
mod reply;
mod request;
mod response;
mod stub;
mod web_page;

pub use advice::{Advice, reference};
pub use client::{Client, Patience, PostError};
pub use code::{ErrorCode, Flags, HttpStatus, ReportedCode};
pub use event::{Arrival, CheckEvent, Event};
pub use extras::{Extra, ExtraError, ExtraFile, Need};
pub use identity::{Identity, Machine};
pub use offer::{Backoff, MetadataClaim, Offer, OfferError, PayloadKind};
pub use package_name::{NameMatch, before_hosting, is_file_name, last_parts};
pub use packages::{Package, PackagesError, packages};
pub use refusal::refusals;
pub use reply::Reply;
pub use request::{Body, Deltas, Request};
pub use response::{Answer, Response, ResponseError};
pub use stub::announcement;
pub use web_page::WebPage;
