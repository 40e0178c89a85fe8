//! Servers by address and with users in their URLs, for checks and payloads alike.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;

use update_engine::fetch::Fetcher;
use update_engine::omaha::{Client, PostError, Retries};

use crate::support::environment_rerun::{message, without_crate};
use crate::support::fetching::{read, request};
use test_support::server::Server;

/// In a network of its own, whose loopback has an address that is valid on that link alone.
#[tokio::test]
async fn a_link_local_address_with_a_zone_is_a_server_of_checks_and_payloads() {
    if message().is_none() {
        let test = concat!(
            module_path!(),
            "::a_link_local_address_with_a_zone_is_a_server_of_checks_and_payloads"
        );
        let output = Command::new("unshare")
            .args(["--map-root-user", "--net", "sh", "-ec"])
            .arg(r#"ip link set lo up; ip -6 address add fe80::1/64 dev lo; exec "$0" "$@""#)
            .arg(std::env::current_exe().unwrap())
            .args([without_crate(test), "--exact", "--nocapture"])
            .env("UPDATE_ENGINE_TEST_MESSAGE", "in it")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let server = Server::start_at(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0));
    server.serve("update", b"<response/>");
    let port = server.address().port();
    let url = format!("http://[fe80::1%25lo]:{port}/update");
    let answer = Client::default().post(&url, String::new(), Retries::None).await;
    assert_eq!(answer.unwrap().body, b"<response/>");
    let stream = Fetcher::default().open(request(url, 11)).await.unwrap();
    assert_eq!(read(stream).await.unwrap(), b"<response/>");
    let hosts: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("host").unwrap().to_owned())
        .collect();
    assert_eq!(hosts, [format!("[fe80::1]:{port}"), format!("[fe80::1]:{port}")]);
    // Without it, nobody knows on which link.
    let nowhere = format!("http://[fe80::1]:{port}/update");
    let error = Client::default()
        .post(&nowhere, String::new(), Retries::None)
        .await
        .unwrap_err();
    assert!(matches!(error, PostError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn a_user_in_a_servers_url_is_sent_as_curl_sends_it() {
    let server = Server::start();
    server.serve("update", b"<response/>");
    let url = server
        .url("update")
        .replace("http://", "http://me%40home:p%2Fw%3a%c3%a9@");
    let curl = Command::new("curl")
        .args([
            "--silent",
            "--noproxy",
            "*",
            "--output",
            "/dev/null",
            "--data",
            "x",
            &url,
        ])
        .status();
    assert!(curl.unwrap().success());
    let answer = Client::default().post(&url, String::new(), Retries::None).await;
    answer.unwrap();
    let stream = Fetcher::default().open(request(url, 11)).await.unwrap();
    read(stream).await.unwrap();
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|one| *one == sent[0]), "{sent:?}");
}
