#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::*;
use crate::engine::{DiskChoice, Node, Settings, Updater as _};
use crate::host::Host;
use crate::install::PostinstMode;
use crate::journal::AttemptFields;

/// A node that asks a server which answers every request with status 503.
fn node_of_an_overloaded_server(root: &std::path::Path) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = root.join("etc/flatcar/update.conf");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    let server = format!("SERVER=http://{}/\n", listener.local_addr().unwrap());
    std::fs::write(config, server).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 503 No\r\nConnection: close\r\n\r\n");
        }
    });
    Node::new(
        Settings {
            host: Host::new(root),
            disk: DiskChoice::OfUsr,
            postinst: PostinstMode::Skip,
        },
        AttemptFields::default(),
    )
}

#[tokio::test]
async fn an_overloaded_server_slows_checks_down_when_it_refuses_one_and_not_an_event() {
    let root = tempfile::tempdir().unwrap();
    let node = node_of_an_overloaded_server(root.path());
    let attempt = AttemptContext::new(Trigger::Schedule);
    node.report(&attempt, &Report::DownloadStarted).await;
    node.session.ping().await;
    assert_eq!(node.schedule.failure(), None);
    let checked = node.check(Trigger::Schedule).await;
    assert!(matches!(checked, Checked::Failed(_)), "{checked:?}");
    assert_eq!(node.schedule.failure(), Some(HttpStatus::Status(503)));
}
