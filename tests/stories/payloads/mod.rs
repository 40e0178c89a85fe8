//! Payloads as files: `update_payload`, and readers and generators by others.

pub(crate) mod deltas;
mod deltas_by_others;
mod peers_v1;
mod peers_v2;
mod serve;
mod signing_elsewhere;
mod tool;
