//! Payloads through what surrounds a node: proxies, trusted roots, passwords.

use update_engine::fetch::{FetchError, FetchRequest, FetchSettings, Fetcher, RedirectFault};
use update_engine::plan::Credentials;

use crate::support::environment_rerun::{again, message};
use crate::support::fetching::{read, request};
use crate::support::socks::SocksProxy;
use test_support::certificates::Authority;
use test_support::server::Server;

const PAYLOAD: &[u8] = b"as good as any payload";

fn served(server: Server) -> Server {
    server.serve("update.gz", PAYLOAD);
    server
}

/// Downloads from `url`, with a password at hand.
async fn download(url: &str) -> Result<Vec<u8>, FetchError> {
    let request = FetchRequest {
        credentials: Some(Credentials::new("me", "secret")),
        ..request(url, PAYLOAD.len() as u64)
    };
    let settings = FetchSettings {
        no_answer_retries: 0,
        ..FetchSettings::default()
    };
    read(Fetcher::new(settings).open(request).await?).await
}

fn authorization(server: &Server) -> Vec<Option<String>> {
    server
        .requests()
        .iter()
        .map(|r| r.header("authorization").map(str::to_owned))
        .collect()
}

/// `me:secret`.
const PASSWORD: &str = "Basic bWU6c2VjcmV0";

#[tokio::test]
async fn https_goes_by_the_systems_trusted_roots_and_carries_the_password() {
    if let Some(url) = message() {
        assert_eq!(download(&url).await.unwrap(), PAYLOAD);
        return;
    }
    let authority = Authority::new();
    let server = served(Server::start_tls(authority.server_config()));
    let untrusted = download(&server.url("update.gz")).await.unwrap_err();
    assert!(matches!(untrusted, FetchError::NoAnswer { .. }), "{untrusted}");
    assert!(server.requests().is_empty());

    let test = concat!(
        module_path!(),
        "::https_goes_by_the_systems_trusted_roots_and_carries_the_password"
    );
    let trusted = [("SSL_CERT_FILE", authority.certificate())];
    again(
        test,
        &server.url("update.gz"),
        &trusted.each_ref().map(|(n, p)| (*n, p.to_str().unwrap())),
    );
    assert_eq!(authorization(&server), [Some(PASSWORD.to_owned())]);
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_carry_the_password_and_none_leaves_https() {
    if let Some(url) = message() {
        assert_eq!(
            download(&format!("{url}redirect=away/update.gz")).await.unwrap(),
            PAYLOAD
        );
        match download(&format!("{url}redirect=http/update.gz"))
            .await
            .unwrap_err()
        {
            FetchError::Redirect {
                fault: RedirectFault::Scheme { from, to, .. },
                ..
            } => {
                assert_eq!((&from[..], &to[..]), ("https", "http"));
            }
            other => panic!("{other}"),
        }
        return;
    }
    let authority = Authority::new();
    let server = served(Server::start_tls(authority.server_config()));
    let test = concat!(
        module_path!(),
        "::a_redirect_to_another_host_does_not_carry_the_password_and_none_leaves_https"
    );
    let trusted = [("SSL_CERT_FILE", authority.certificate())];
    again(
        test,
        &server.url(""),
        &trusted.each_ref().map(|(n, p)| (*n, p.to_str().unwrap())),
    );
    let sent = Some(PASSWORD.to_owned());
    assert_eq!(authorization(&server), [sent.clone(), None, sent]);
}

#[tokio::test]
async fn the_password_is_not_sent_over_plain_http() {
    let server = served(Server::start());
    assert_eq!(download(&server.url("update.gz")).await.unwrap(), PAYLOAD);
    assert_eq!(authorization(&server), [None]);
}

#[tokio::test]
async fn a_node_without_trusted_roots_still_downloads_over_http() {
    if let Some(url) = message() {
        assert_eq!(download(&url).await.unwrap(), PAYLOAD);
        return;
    }
    let server = served(Server::start());
    let test = concat!(
        module_path!(),
        "::a_node_without_trusted_roots_still_downloads_over_http"
    );
    let none = [
        ("SSL_CERT_FILE", "/nonexistent"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    again(test, &server.url("update.gz"), &none);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn proxies_come_from_the_environment() {
    if let Some(url) = message() {
        assert_eq!(download(&url).await.unwrap(), PAYLOAD);
        return;
    }
    let test = concat!(module_path!(), "::proxies_come_from_the_environment");
    for variable in ["http_proxy", "ALL_PROXY"] {
        let proxy = served(Server::start());
        again(
            test,
            "http://updates.invalid/update.gz",
            &[(variable, &proxy.url(""))],
        );
        assert_eq!(
            proxy.requests()[0].header("host"),
            Some("updates.invalid"),
            "{variable}"
        );
    }
    let (proxy, origin) = (served(Server::start()), served(Server::start()));
    let variables = [("ALL_PROXY", &proxy.url("")[..]), ("NO_PROXY", "127.0.0.1")];
    again(test, &origin.url("update.gz"), &variables);
    assert_eq!((proxy.requests().len(), origin.requests().len()), (0, 1));
}

#[tokio::test]
async fn a_socks_proxy_is_asked_to_find_the_host() {
    if let Some(url) = message() {
        assert_eq!(download(&url).await.unwrap(), PAYLOAD);
        return;
    }
    let origin = served(Server::start());
    let proxy = SocksProxy::start(origin.address());
    let test = concat!(module_path!(), "::a_socks_proxy_is_asked_to_find_the_host");
    again(
        test,
        "http://updates.invalid/update.gz",
        &[("ALL_PROXY", &proxy.url())],
    );
    assert_eq!(proxy.asked_for(), "updates.invalid");
    assert_eq!(origin.requests()[0].header("host"), Some("updates.invalid"));
}
