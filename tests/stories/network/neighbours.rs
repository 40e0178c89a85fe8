//! Whole updates through a node's neighbours: proxies, a private authority, a password.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use update_engine::disk::SlotName;

use crate::support::bad_server::BadServer;
use crate::support::node::{CONFIG, Node, client, quoted};
use crate::support::proxies::Proxy;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene, eventually};
use test_support::certificates::Authority;
use test_support::fixtures;
use test_support::server::{Recorded, Server};

fn payload() -> Vec<u8> {
    std::fs::read(fixtures::payload("full.payload")).unwrap()
}

/// Runs a daemon with these variables in its environment; it must come to `operation`.
async fn attempt(server: BadServer, config: &str, environment: &str, operation: &str) -> Scene<BadServer> {
    let node = Node::new(&server.url());
    let mut text = node.read(CONFIG);
    text.extend_from_slice(config.as_bytes());
    node.write(CONFIG, &text);
    let mut scene = Scene::with(server, node).await;
    let first = if environment.is_empty() {
        ":".to_owned()
    } else {
        format!("export {environment}")
    };
    let daemon = scene.node.start_after(&first, &scene.bus, SlotName::A);
    scene.signals_until(IDLE).await;
    scene.attempt(operation).await;
    daemon.stop();
    scene
}

fn is_updated(scene: &Scene<BadServer>) -> bool {
    scene.node.disk.slot(SlotName::B)[..16 << 20] == fixtures::image("new.img")
}

/// `Authorization` of the requests by this method.
fn passwords(scene: &Scene<BadServer>, method: &str) -> Vec<Option<String>> {
    let sent = |request: &Recorded| request.header("authorization").map(str::to_owned);
    let requests = scene.server.requests().into_iter();
    requests
        .filter(|request| request.method == method)
        .map(|request| sent(&request))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_events_and_payload_go_through_a_socks_proxy() {
    let proxy = Proxy::socks();
    let server = BadServer::offering(payload(), "", |_| {});
    let scene = attempt(server, "", &format!("ALL_PROXY={}", proxy.url()), NEED_REBOOT).await;
    assert!(is_updated(&scene));
    let connections = proxy.log().matches("connected to").count();
    assert!(connections >= scene.server.requests().len(), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_events_and_payload_go_through_an_http_proxy() {
    for variable in ["http_proxy", "ALL_PROXY"] {
        let proxy = Proxy::http();
        let server = BadServer::offering(payload(), "", |_| {});
        let scene = attempt(server, "", &format!("{variable}={}", proxy.url()), NEED_REBOOT).await;
        assert!(is_updated(&scene), "{variable}");
        for request in scene.server.requests() {
            let via = request.header("via").unwrap_or_default();
            assert!(
                via.contains("tinyproxy"),
                "{variable}: {via:?} {}",
                request.method
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_no_proxy_is_asked_directly() {
    let server = BadServer::offering(payload(), "", |_| {});
    // Nobody listens there.
    let environment = "ALL_PROXY=http://127.0.0.1:9 NO_PROXY=localhost,127.0.0.1";
    assert!(is_updated(&attempt(server, "", environment, NEED_REBOOT).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn https_by_a_private_authority_goes_through_proxies_and_only_the_download_carries_the_password() {
    let authority = Authority::new();
    let proxies = [Proxy::http(), Proxy::socks()];
    for (variable, proxy) in ["HTTPS_PROXY", "ALL_PROXY"].into_iter().zip(&proxies) {
        let http = Server::start_tls(authority.server_config());
        let server = BadServer::on(http, payload(), "", |_| {});
        let environment = format!(
            "SSL_CERT_FILE={} {variable}={}",
            quoted(authority.certificate()),
            proxy.url()
        );
        let config = "DOWNLOAD_USER=me\nDOWNLOAD_PASSWORD=secret\n";
        let scene = attempt(server, config, &environment, NEED_REBOOT).await;
        assert!(is_updated(&scene));
        let sent = Some("Basic bWU6c2VjcmV0".to_owned());
        assert!(passwords(&scene, "GET").iter().all(|password| *password == sent));
        assert!(passwords(&scene, "POST").iter().all(Option::is_none));
        // Through a tunnel: no proxy saw a request.
        assert!(
            scene
                .server
                .requests()
                .iter()
                .all(|request| request.header("via").is_none())
        );
        assert_ne!(proxy.log(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_no_trusted_authority_vouches_for_gets_no_request() {
    let server = Server::start_tls(Authority::new().server_config());
    let server = BadServer::on(server, payload(), "", |_| {});
    let scene = attempt(server, "DOWNLOAD_USER=me\n", "", IDLE).await;
    assert!(scene.server.requests().is_empty());
    assert!(scene.node.disk.slot(SlotName::B).iter().all(|byte| *byte == 0xb0));
}

/// The file of trusted authorities is read for as long as the test wants: as from a disk that
/// hangs.
#[tokio::test(flavor = "multi_thread")]
async fn while_trusted_authorities_can_not_be_read_the_bus_is_answered() {
    let authority = Authority::new();
    let server = BadServer::on(
        Server::start_tls(authority.server_config()),
        payload(),
        "",
        |_| {},
    );
    let node = Node::new(&server.url());
    let file = node.beside("authorities");
    nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
    let mut scene = Scene::with(server, node).await;
    let first = format!("export SSL_CERT_FILE={}", quoted(&file));
    let daemon = scene.node.start_after(&first, &scene.bus, SlotName::A);
    scene.signals_until(IDLE).await;
    let (_, asked) = client(&scene.bus, "-check_for_update").await;
    assert!(asked.success());

    // Without waiting, it can be opened to be written once somebody reads; who reads waits as long
    // as it is open.
    let mut options = File::options();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let writer = OnceCell::new();
    let is_read = || options.open(&file).is_ok_and(|opened| writer.set(opened).is_ok());
    eventually("somebody reads it", is_read).await;
    let status = tokio::time::timeout(Duration::from_secs(60), client(&scene.bus, "-status")).await;
    let (status, _) = status.expect("the bus is answered");
    assert!(status.contains("CHECKING_FOR_UPDATE"), "{status}");

    let mut writer = writer.into_inner().unwrap();
    writer
        .write_all(&std::fs::read(authority.certificate()).unwrap())
        .unwrap();
    drop(writer);
    eventually("the server is asked", || !scene.server.requests().is_empty()).await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_the_configuration_is_never_sent_over_http() {
    let server = BadServer::offering(payload(), "", |_| {});
    let scene = attempt(
        server,
        "DOWNLOAD_USER=me\nDOWNLOAD_PASSWORD=secret\n",
        "",
        NEED_REBOOT,
    )
    .await;
    for method in ["GET", "POST"] {
        assert!(passwords(&scene, method).iter().all(Option::is_none));
    }
}
