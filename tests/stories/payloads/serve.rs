//! A node and the update server, told in bytes on the wire.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use update_engine::serve::{Audience, Catalog, RequestRecord, Server};

const CHECK: &str = include_str!("../../fixtures/omaha/request-check.xml");
const ERROR: &str = include_str!("../../fixtures/omaha/request-event-error.xml");

/// A server with ten bytes to offer as version 2.
struct Site {
    server: Server,
    directory: TempDir,
}

struct Response {
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    fn status(&self) -> &str {
        &self.head[9..12]
    }

    fn header(&self, name: &str) -> Option<&str> {
        let field = |line: &'_ str| -> Option<(usize, usize)> {
            let (field, _) = line.split_once(": ")?;
            field
                .eq_ignore_ascii_case(name)
                .then_some((field.len() + 2, line.len()))
        };
        self.head
            .lines()
            .find_map(|line| field(line).map(|(from, to)| &line[from..to]))
    }
}

impl Site {
    async fn open(adjust: impl FnOnce(Catalog) -> Catalog) -> Self {
        let directory = TempDir::new().unwrap();
        let catalog = adjust(catalog(&directory, "2", b"0123456789"));
        let server = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), Some(catalog))
            .await
            .unwrap();
        Self { server, directory }
    }

    async fn request(&self, head: &str, body: &str) -> Response {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let len = body.len();
        let request = format!(
            "{head}\r\nHost: updates.example:81\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        Response {
            head: String::from_utf8(bytes[..end].to_vec()).unwrap(),
            body: bytes.split_off(end + 4),
        }
    }

    async fn post(&self, body: &str) -> Response {
        self.request("POST /v1/update/ HTTP/1.1", body).await
    }

    async fn get(&self, headers: &str) -> Response {
        self.request(&format!("GET /packages/update.payload HTTP/1.1{headers}"), "")
            .await
    }
}

fn catalog(directory: &TempDir, version: &str, payload: &[u8]) -> Catalog {
    let path = directory.path().join("update.payload");
    fs::write(&path, payload).unwrap();
    Catalog::open(version, &path).unwrap()
}

#[tokio::test]
async fn a_node_of_another_version_is_offered_the_update_and_its_packages() {
    let site = Site::open(|catalog| {
        let extra = catalog.payload().path.with_file_name("extra");
        fs::write(&extra, b"abc").unwrap();
        catalog
            .with_package("oem-foo.gz".parse().unwrap(), &extra)
            .unwrap()
    })
    .await;
    let response = site.post(CHECK).await;
    assert_eq!(
        (response.status(), response.header("content-type")),
        ("200", Some("text/xml; charset=utf-8"))
    );
    let expected = concat!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
        "<response protocol=\"3.0\" server=\"update_payload\"><daystart elapsed_seconds=\"0\"></daystart>",
        "<app appid=\"{e96281a6-d1af-4bde-9a0a-97b76e56dc57}\" status=\"ok\"><ping status=\"ok\"></ping>",
        "<updatecheck status=\"ok\"><urls><url codebase=\"http://updates.example:81/packages/\"></url></urls>",
        "<manifest version=\"2\"><packages>",
        "<package name=\"update.payload\" hash=\"h6zsF82dzSCnFsws9nQXtxyKcBY=\" ",
        "hash_sha256=\"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\" ",
        "size=\"10\" required=\"true\"></package>",
        "<package name=\"oem-foo.gz\" hash=\"qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\" ",
        "hash_sha256=\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\" ",
        "size=\"3\" required=\"false\"></package></packages>",
        "<actions><action event=\"postinstall\" sha256=\"hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=\" ",
        "DisablePayloadBackoff=\"true\"></action></actions></manifest></updatecheck>",
        "<event status=\"ok\"></event></app></response>\n",
    );
    assert_eq!(response.text(), expected);
    let [exchange] = site.server.journal().exchanges().try_into().unwrap();
    assert_eq!(
        (exchange.body.as_str(), exchange.offered.as_deref()),
        (CHECK, Some("2"))
    );
    assert!(exchange.is_check());
}

#[tokio::test]
async fn a_node_of_the_same_version_is_told_that_there_is_no_update() {
    let site = Site::open(|catalog| catalog).await;
    let current = CHECK.replace("\" version=\"3510.2.0\"", "\" version=\"2\"");
    assert!(
        site.post(&current)
            .await
            .text()
            .contains("<updatecheck status=\"noupdate\"></updatecheck>")
    );
    let catalog = catalog(&site.directory, "2", b"x").for_audience(Audience::Everyone);
    site.server.replace(Some(catalog));
    assert!(
        site.post(&current)
            .await
            .text()
            .contains("<updatecheck status=\"ok\">")
    );
    site.server.replace(None);
    assert!(
        site.post(CHECK)
            .await
            .text()
            .contains("<updatecheck status=\"noupdate\"></updatecheck>")
    );
}

#[tokio::test]
async fn events_are_acknowledged_and_remembered() {
    let site = Site::open(|catalog| catalog).await;
    let response = site.post(ERROR).await;
    assert!(
        response
            .text()
            .contains("status=\"ok\"><event status=\"ok\"></event></app>")
    );
    site.server
        .journal()
        .wait_for(|record| matches!(record, RequestRecord::Omaha(_)))
        .await;
    let [event] = site.server.journal().events().try_into().unwrap();
    assert_eq!((event.kind, event.result, event.code), (3, 0, Some(268_435_474)));
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut_unless_the_payload_changed() {
    let site = Site::open(|catalog| catalog).await;
    let whole = site.get("").await;
    assert_eq!(
        (whole.status(), whole.body.as_slice()),
        ("200", b"0123456789".as_slice())
    );
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let tag = whole.header("etag").unwrap().to_owned();

    let headers = format!("\r\nRange: bytes=4-\r\nIf-Range: {tag}");
    let rest = site.get(&headers).await;
    assert_eq!(
        (rest.status(), rest.body.as_slice()),
        ("206", b"456789".as_slice())
    );
    assert_eq!(rest.header("content-range"), Some("bytes 4-9/10"));
    let beyond = site.get("\r\nRange: bytes=10-").await;
    assert_eq!(
        (beyond.status(), beyond.header("content-range")),
        ("416", Some("bytes */10"))
    );

    site.server
        .replace(Some(catalog(&site.directory, "3", b"abcdefghijkl")));
    let other = site.get(&headers).await;
    assert_eq!(
        (other.status(), other.body.as_slice()),
        ("200", b"abcdefghijkl".as_slice())
    );
    let seen: Vec<_> = site
        .server
        .journal()
        .downloads()
        .iter()
        .map(|d| (d.status, d.first, d.len))
        .collect();
    assert_eq!(seen, [(200, 0, 10), (206, 4, 6), (416, 0, 0), (200, 0, 12)]);
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_bytes() {
    let site = Site::open(|catalog| catalog).await;
    let response = site.request("HEAD /packages/update.payload HTTP/1.1", "").await;
    assert_eq!(
        (response.status(), response.header("content-length")),
        ("200", Some("10"))
    );
    assert!(response.body.is_empty());
}

#[tokio::test]
async fn a_payload_that_changed_its_length_is_not_sent() {
    let site = Site::open(|catalog| catalog).await;
    fs::write(site.directory.path().join("update.payload"), b"shorter").unwrap();
    let response = site.get("").await;
    assert_eq!(response.status(), "500");
    assert!(
        response.text().contains("the file has 7 bytes, 10 were offered"),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn what_is_no_request_for_us_is_refused_and_remembered() {
    let site = Site::open(|catalog| catalog).await;
    for body in ["", "hello", "<request><app>", "<request></request>", "<a></b>"] {
        assert_eq!(site.post(body).await.status(), "400", "{body:?}");
    }
    assert_eq!(site.post(&"x".repeat(65_537)).await.status(), "400");
    assert_eq!(site.request("GET /v1/update/ HTTP/1.1", "").await.status(), "405");
    assert_eq!(
        site.request("GET /packages/../secret HTTP/1.1", "")
            .await
            .status(),
        "404"
    );
    assert_eq!(site.request("GET /elsewhere HTTP/1.1", "").await.status(), "404");
    let refused = |record: &RequestRecord| matches!(record, RequestRecord::Refused { .. });
    assert_eq!(
        site.server
            .journal()
            .records()
            .iter()
            .filter(|record| refused(record))
            .count(),
        9
    );
}

#[tokio::test(start_paused = true)]
async fn a_paced_download_takes_its_time() {
    let site = Site::open(|catalog| catalog.with_pace(NonZeroU64::new(2).unwrap())).await;
    let start = tokio::time::Instant::now();
    assert_eq!(site.get("").await.body, b"0123456789");
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_was_stopped_is_gone() {
    let site = Site::open(|catalog| catalog).await;
    let address = site.server.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    site.server.stop().await;
    assert_eq!(
        idle.read(&mut [0]).await.unwrap_or(0),
        0,
        "open connections are closed"
    );
    assert!(TcpStream::connect(address).await.is_err());
}
