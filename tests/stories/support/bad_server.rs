//! A server whose offers may lie and whose payloads come as the URL's faults say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::digest::{SHA256, digest};
use update_engine::serve::OmahaQuestion;

use super::scene::Asked;
use test_support::server::{Recorded, Server};

const PAYLOAD: &str = "update.gz";
const OFFER: &str = "offer";

/// What the server says about its payload.
pub struct Offer {
    /// In bytes.
    pub size: usize,
    /// Of the whole payload.
    pub sha256: Vec<u8>,
    /// Whether it says that the running image is needed.
    pub is_delta: bool,
    /// The payload's name in its URL.
    pub name: &'static str,
    /// User and password in its URL.
    pub user: &'static str,
    /// Elements after the payload's.
    pub extras: String,
}

impl Offer {
    /// The truth about a full payload.
    fn of(payload: &[u8]) -> Self {
        Self {
            size: payload.len(),
            sha256: digest(&SHA256, payload).as_ref().to_vec(),
            is_delta: false,
            name: PAYLOAD,
            user: "",
            extras: String::new(),
        }
    }

    /// An answer to any check, as small sites write it: events get the same one.
    fn to_xml(&self, codebase: &str) -> String {
        let Self {
            size,
            is_delta,
            name,
            extras,
            ..
        } = self;
        let sha256 = BASE64.encode(&self.sha256);
        format!(
            r#"<response protocol="3.0"><app status="ok"><updatecheck status="ok">
<urls><url codebase="{codebase}"></url></urls><manifest version="2.0.0">
<packages><package name="{name}" size="{size}" required="true"></package>{extras}</packages>
<actions><action event="postinstall" sha256="{sha256}" IsDeltaPayload="{is_delta}" DisablePayloadBackoff="true">
</action></actions></manifest></updatecheck></app></response>"#
        )
    }
}

/// See the module.
pub struct BadServer {
    http: Server,
}

impl BadServer {
    /// Offers `payload` as version 2.0.0, or what `lie` makes of that. The payload comes with
    /// `faults`.
    pub fn offering(payload: Vec<u8>, faults: &str, lie: impl FnOnce(&mut Offer)) -> Self {
        Self::on(Server::start(), payload, faults, lie)
    }

    /// The same on this server.
    pub fn on(http: Server, payload: Vec<u8>, faults: &str, lie: impl FnOnce(&mut Offer)) -> Self {
        let mut offer = Offer::of(&payload);
        lie(&mut offer);
        let codebase = if faults.is_empty() {
            String::new()
        } else {
            format!("{faults}/")
        };
        let codebase = http.url(&codebase).replace("://", &format!("://{}", offer.user));
        http.serve(OFFER, offer.to_xml(&codebase));
        http.serve(PAYLOAD, payload);
        Self { http }
    }

    /// Sends this in the payload's place, from now on.
    pub fn replace_payload(&self, bytes: Vec<u8>) {
        self.http.serve(PAYLOAD, bytes);
    }

    /// What a node's `SERVER=` must be.
    pub fn url(&self) -> String {
        self.http.url(OFFER)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.http.requests()
    }

    /// The last document that asked for an update.
    pub fn last_check(&self) -> String {
        let requests = self.http.requests().into_iter().rev();
        let bodies = requests.map(|request| String::from_utf8(request.body).unwrap());
        bodies
            .into_iter()
            .find(|body| body.contains("<updatecheck>"))
            .unwrap()
    }

    /// The requests for the payload so far.
    pub fn downloads(&self) -> Vec<Recorded> {
        let mut requests = self.http.requests();
        requests.retain(|request| request.method == "GET");
        requests
    }
}

impl Asked for BadServer {
    fn questions(&self) -> Vec<OmahaQuestion> {
        self.http.questions()
    }
}

impl Asked for Server {
    fn questions(&self) -> Vec<OmahaQuestion> {
        let requests = self.requests().into_iter();
        requests
            .filter(|request| request.method == "POST")
            .map(|request| OmahaQuestion::parse(std::str::from_utf8(&request.body).unwrap()).unwrap())
            .collect()
    }
}
