//! A payload that carries expected measurements: kept beside the state, posted to the service that
//! attests this machine, and the update waits for its yes.

use payload_format::Sha256Digest;
use update_engine::disk::SlotName;
use update_engine::engine::Reportable as _;
use update_engine::install::InstallError;

use crate::support::installing::plan;
use crate::support::node::Node;
use crate::support::pcr_payload::with_pcr_policy;
use test_support::server::Server;

/// No whole number of blocks.
const POLICY: [u8; 5000] = [b'p'; 5000];

struct Case {
    node: Node,
    server: Server,
}

impl Case {
    fn new() -> Self {
        Self {
            node: Node::with_two_good_slots(),
            server: Server::start(),
        }
    }

    /// Installs a payload that brings [`POLICY`] and claims this hash of it; it is posted to
    /// `service`.
    async fn install(&self, claimed: Sha256Digest, service: Option<&str>) -> Result<(), InstallError> {
        let payload = with_pcr_policy(&POLICY, claimed);
        let mut plan = plan(self.server.url("p"), &payload);
        plan.pcr_policy_server = service.map(|path| self.server.url(path));
        self.server.serve("p", payload);
        self.server.serve("policies", "");
        self.node.install(plan).await
    }

    fn policy(&self) -> Vec<u8> {
        self.node.read("/var/lib/update_engine/pcrs-b.zip")
    }

    fn slot_boots_next(&self) -> bool {
        let attributes = self.node.slot_attributes(SlotName::B);
        attributes.priority() > self.node.slot_attributes(SlotName::A).priority()
    }
}

#[tokio::test]
async fn a_policy_is_kept_and_posted_before_the_slot_boots() {
    let case = Case::new();
    case.install(Sha256Digest::of(&POLICY), Some("policies"))
        .await
        .unwrap();
    assert_eq!(case.policy(), POLICY);
    assert!(case.slot_boots_next());
    let requests = case.server.requests();
    let posted = requests.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(posted.header("content-type"), Some("application/octet-stream"));
    assert_eq!(posted.body, POLICY);
}

#[tokio::test]
async fn without_a_service_it_is_only_kept() {
    let case = Case::new();
    case.install(Sha256Digest::of(&POLICY), None).await.unwrap();
    assert_eq!(case.policy(), POLICY);
    assert!(
        case.server
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
}

#[tokio::test]
async fn a_service_that_refuses_it_ends_the_update() {
    let case = Case::new();
    let refused = case
        .install(Sha256Digest::of(&POLICY), Some("status=403;/policies"))
        .await;
    let error = refused.unwrap_err();
    assert_eq!(error.code().number(), 43, "{error}");
    let attributes = case.node.slot_attributes(SlotName::B);
    assert_eq!(attributes, attributes.unbootable());
}

#[tokio::test]
async fn a_policy_other_than_the_manifest_says_ends_the_update() {
    let case = Case::new();
    let refused = case.install(Sha256Digest::of(b"another"), Some("policies")).await;
    let error = refused.unwrap_err();
    assert_eq!(error.code().number(), 42, "{error}");
    assert!(!case.slot_boots_next());
    assert!(
        case.server
            .requests()
            .iter()
            .all(|request| request.method == "GET")
    );
}
