//! A connection without a bus, for tests.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixStream;

use zbus::connection::Builder;
use zbus::{Connection, Guid};

/// Both ends.
pub(super) async fn pair() -> (Connection, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    let server = Builder::unix_stream(ours).server(Guid::generate()).p2p();
    let client = Builder::unix_stream(theirs).p2p();
    let (server, client) = tokio::join!(server.build(), client.build());
    (server.unwrap(), client.unwrap())
}
