//! What stories are told with: disk images, servers, buses.
#![allow(
    dead_code,
    reason = "each story uses its part; the demonstration uses another"
)]
