//! What stories are told with: disk images, servers, buses.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each story uses its part; the demonstration uses another"
)]

pub mod bad_server;
pub mod bus;
pub mod certificates;
pub mod device;
pub mod document;
pub mod environment_rerun;
pub mod etcd;
pub mod fetching;
pub mod fixtures;
pub mod foreground_server;
pub mod health;
pub mod http_servers;
pub mod image;
pub mod immediate_checks;
pub mod installing;
pub mod journald;
pub mod logging_server;
pub mod long_patch;
pub mod loops;
pub mod machine;
pub mod merge;
pub mod ncat;
pub mod nebraska;
pub mod node;
pub mod notify_socket;
pub mod offer;
pub mod other_users;
pub mod payload;
pub mod pcr_payload;
pub mod polkit;
pub mod power;
pub mod protobuf;
pub mod proxies;
pub mod raw_payload;
pub mod scene;
pub mod server;
pub mod socat;
pub mod socks;
pub mod systemd;
pub mod transient;
