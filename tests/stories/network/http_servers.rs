//! Updates from web servers, through caches and through proxies as sites run them, whole and after
//! a crash of theirs.

use std::net::SocketAddrV4;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::fetch::{Entity, FetchRequest, FetchSettings, Fetcher};
use update_engine::install::{InstallError, Installer, PostinstMode};
use update_engine::plan::InstallPlan;

use crate::support::environment_rerun::{again, message};
use crate::support::fetching::{read, request};
use crate::support::foreground_server::free_place;
use crate::support::http_servers::{self, HttpServer, Kind, Role};
use crate::support::installing::plan;
use crate::support::node::{Node, quoted};
use crate::support::offer::offer;
use crate::support::scene::{IDLE, NEED_REBOOT, Scene};
use test_support::certificates::Authority;
use test_support::fixtures;
use test_support::server::{Recorded, Server};

/// The payload's name.
const NAME: &str = "flatcar_production_update.gz";
const MIB: u64 = 1 << 20;

macro_rules! stories {
    ($($module:ident: $kind:ident;)*) => {$(
        mod $module {
            use super::http_servers::$kind;

            #[tokio::test(flavor = "multi_thread")]
            async fn a_check_goes_through_and_the_payload_comes_whole() {
                super::comes_whole(&$kind).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_download_goes_on_after_a_crash() {
                let test = concat!(module_path!(), "::a_download_goes_on_after_a_crash");
                super::goes_on_after_a_crash(&$kind, test).await;
            }
        }
    )*};
}

stories! {
    nginx: NGINX_FILES;
    nginx_cache: NGINX_CACHE;
    lighttpd: LIGHTTPD_FILES;
    apache: APACHE_FILES;
    apache_cache: APACHE_CACHE;
    squid_cache: SQUID_CACHE;
    squid_proxy: SQUID_PROXY;
    squid_tunnel: SQUID_TUNNEL;
    varnish: VARNISH_CACHE;
    haproxy: HAPROXY_CACHE;
}

/// The update server.
fn origin(kind: &Kind, authority: &Authority) -> Server {
    match kind.role {
        Role::Tunnel => Server::start_tls(authority.server_config()),
        Role::Files | Role::Cache | Role::Proxy => Server::start(),
    }
}

/// What a node's URLs begin with.
fn base(server: &HttpServer, kind: &Kind, origin: &Server) -> String {
    match kind.role {
        Role::Files | Role::Cache => server.url(),
        Role::Proxy | Role::Tunnel => origin.url(""),
    }
}

/// What a node finds in its environment.
fn environment<'a>(kind: &Kind, proxy: &'a str, certificate: &'a Path) -> Vec<(&'static str, &'a str)> {
    match kind.role {
        Role::Files | Role::Cache => Vec::new(),
        Role::Proxy => vec![("http_proxy", proxy)],
        Role::Tunnel => vec![
            ("https_proxy", proxy),
            ("SSL_CERT_FILE", certificate.to_str().unwrap()),
        ],
    }
}

fn downloads(origin: &Server) -> Vec<Recorded> {
    let mut requests = origin.requests();
    requests.retain(|request| request.method == "GET");
    requests
}

async fn comes_whole(kind: &'static Kind) {
    let path = fixtures::payload("full.payload");
    let payload = std::fs::read(&path).unwrap();
    let authority = Authority::new();
    let origin = origin(kind, &authority);
    let server = HttpServer::start(kind, origin.address(), &[(NAME, &payload)]);
    let base = base(&server, kind, &origin);
    origin.serve("update/", offer("2.0.0", &base, &path));
    origin.serve(NAME, payload);

    let node = Node::new(&format!("{base}v1/update/"));
    let mut scene = Scene::with(origin, node).await;
    let certificate = authority.certificate();
    let mut first = ":".to_owned();
    for (name, value) in environment(kind, &server.url(), &certificate) {
        first = format!("{first}; export {name}={}", quoted(value));
    }
    let daemon = scene.node.start_after(&first, &scene.bus, SlotName::A);
    scene.signals_until(IDLE).await;
    scene.attempt(NEED_REBOOT).await;
    daemon.stop();

    assert!(scene.node.disk.slot(SlotName::B)[..16 << 20] == fixtures::image("new.img"));
    assert_eq!(scene.events().last(), Some(&(3, 1, None)));
    let from_origin = usize::from(kind.role != Role::Files);
    assert_eq!(downloads(&scene.server).len(), from_origin);
    let asked = scene.server.requests().len();
    match kind.role {
        Role::Tunnel => server.has_logged_times("CONNECT 200 -", asked),
        Role::Files | Role::Cache | Role::Proxy => {
            server.has_logged_times("POST 200 -", asked - from_origin);
            server.has_logged_times("GET 200 -", 1);
        }
    }
}

async fn goes_on_after_a_crash(kind: &'static Kind, test: &str) {
    match (kind.role, message()) {
        (Role::Files | Role::Cache, _) => {
            let (authority, place) = (Authority::new(), free_place());
            Download::start(kind, place, &authority)
                .goes_on_after_a_crash()
                .await;
        }
        // What a proxy is, the environment says before anything runs.
        (Role::Proxy | Role::Tunnel, None) => {
            let (authority, place) = (Authority::new(), free_place());
            let (proxy, certificate) = (format!("http://{place}"), authority.certificate());
            again(
                test,
                &format!("{place} {}", authority.directory().display()),
                &environment(kind, &proxy, &certificate),
            );
        }
        (Role::Proxy | Role::Tunnel, Some(message)) => {
            let (place, directory) = message.split_once(' ').unwrap();
            let authority = Authority::made_in(Path::new(directory));
            let place = place.parse().unwrap();
            Download::start(kind, place, &authority)
                .goes_on_after_a_crash()
                .await;
        }
    }
}

/// An image whose payload is more than two crashes let through: each time some ten megabytes lie in
/// buffers between a node and its server, and come all the same. Every block of it is different.
fn large_image() -> Vec<u8> {
    let blocks = (0_u32..12_288).map(|n| n.to_le_bytes().repeat(1024));
    blocks.collect::<Vec<_>>().concat()
}

/// A payload on its way from a server.
struct Download {
    kind: &'static Kind,
    node: Node,
    plan: InstallPlan,
    payload: Vec<u8>,
    server: HttpServer,
    origin: Server,
}

impl Download {
    fn start(kind: &'static Kind, place: SocketAddrV4, authority: &Authority) -> Self {
        let payload = fixtures::uncompressed(&large_image());
        let origin = origin(kind, authority);
        origin.serve(NAME, payload.clone());
        let server = HttpServer::start_at(place, kind, origin.address(), &[(NAME, &payload)]);
        let node = Node::with_slots("disabled", 64 << 20);
        let url = base(&server, kind, &origin) + NAME;
        Self {
            kind,
            node,
            plan: plan(url, &payload),
            payload,
            server,
            origin,
        }
    }

    async fn goes_on_after_a_crash(mut self) {
        // Nobody goes on in the first attempt; in the second one, the crash is bridged.
        let error = self.attempt(0).await.unwrap_err();
        assert!(matches!(error, InstallError::Fetch(_)), "{error:?}");
        let kept = self.attempt(1).await.unwrap();
        assert!(kept >= MIB, "{kept}");
        let image = large_image();
        assert!(self.node.disk.slot(SlotName::B)[..image.len()] == image);
        let from = self.last_start();
        assert!(from >= kept + 2 * MIB, "{from} after {kept}");
        if self.kind.role != Role::Tunnel {
            self.has_what_it_sent(from).await;
        }
    }

    /// An attempt that takes a broken download up so often. The server crashes when 2 MiB have
    /// come. Gives how much had come before.
    async fn attempt(&mut self, resumes: u32) -> Result<u64, InstallError> {
        let mut site = self.node.site(PostinstMode::Skip);
        site.fetcher = Fetcher::new(FetchSettings {
            resumes,
            resume_delay: Duration::ZERO,
            no_answer_retries: 0,
            // A reader that is behind leaves the rest to the server, not to buffers.
            rate: NonZeroU64::new(16 * MIB),
            ..FetchSettings::default()
        });
        let ready = Installer::new(self.plan.clone(), site).prepare().await?;
        let (mut kept, mut crashed) = (None, false);
        let mut progress = |bytes: u64| {
            let kept = *kept.get_or_insert(bytes);
            if !crashed && bytes >= kept + 2 * MIB {
                crashed = true;
                self.server.crash();
            }
        };
        let cancel = CancellationToken::new();
        let downloaded = ready.download(&mut progress, &cancel).await?;
        let verified = downloaded.verify(&cancel).await?;
        verified.postinstall(&cancel).await?.commit().await?;
        Ok(kept.unwrap())
    }

    /// From which byte on the server sent what came after its last crash: nothing else was asked of
    /// it since.
    fn last_start(&self) -> u64 {
        let range = if self.kind.role == Role::Tunnel {
            let downloads = downloads(&self.origin);
            downloads.last().unwrap().header("range").unwrap().to_owned()
        } else {
            self.server.has_logged(|line| line.starts_with("GET"));
            let log = self.server.log();
            let gets: Vec<_> = log.lines().filter(|line| line.starts_with("GET")).collect();
            assert_eq!(gets.len(), 1, "{log}");
            gets[0].strip_prefix("GET 206 ").unwrap().to_owned()
        };
        let start = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-'));
        start.unwrap().parse().unwrap()
    }

    /// A cache that has the whole file answers for the rest of it without asking again.
    async fn has_what_it_sent(&self, from: u64) {
        let (all, entity) = self.fetched(0, None).await;
        assert!(all == self.payload);
        let asked = downloads(&self.origin).len();
        // None that was asked for before.
        let from = from + 1;
        let (rest, _) = self.fetched(from, entity).await;
        assert!(rest == self.payload[usize::try_from(from).unwrap()..]);
        let line = format!("GET {} bytes={from}-", self.kind.warm.status());
        self.server.has_logged(|logged| logged == line);
        assert_eq!(downloads(&self.origin).len(), asked);
    }

    async fn fetched(&self, start: u64, entity: Option<Entity>) -> (Vec<u8>, Option<Entity>) {
        let request = FetchRequest {
            start,
            entity,
            ..request(&self.plan.url, self.plan.payload_size)
        };
        let stream = Fetcher::default().open(request).await.unwrap();
        assert_eq!(stream.start(), start);
        let entity = stream.entity().cloned();
        (read(stream).await.unwrap(), entity)
    }
}
