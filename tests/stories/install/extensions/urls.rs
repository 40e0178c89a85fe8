//! Packages that not every URL of the offer gives.

use update_engine::extension::ExtensionError;
use update_engine::install::InstallError;

use super::{DIRECTORY, Files, names, oem, planned};
use crate::support::foreground_server::free_place;
use crate::support::node::Node;
use test_support::certificates::Authority;

/// A port of this process's own that nobody listens at.
fn closed() -> String {
    format!("http://{}/", free_place())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_one_url_the_next_one_is_asked_for_the_package() {
    let (http, untrusted) = (Files::start(), Files::start_tls(Authority::new().server_config()));
    let without_tls = http.url("").replace("http:", "https:");
    // No name has so long a part: nobody is asked for it.
    let nowhere = format!("http://{}.invalid/", "x".repeat(64));
    let mut wrong = vec![
        ("a closed port", closed()),
        ("no such name", nowhere),
        ("no TLS", without_tls),
        ("an untrusted certificate", untrusted.url("")),
    ];
    for fault in [
        "hangup",
        "cut=10000",
        "status=401",
        "status=403",
        "status=404",
        "status=500",
        "status=503",
        "redirect=loop",
        "redirect=https",
        "longer=1",
        "shorter=1",
        "chunked,shorter=1",
        "changed",
        "html-type",
    ] {
        wrong.push((fault, http.url(&format!("{fault}/"))));
    }
    for (what, base) in wrong {
        let node = Node::with_two_good_slots();
        let mut plan = planned(&http, &oem());
        let package = &mut plan.extensions.as_mut().unwrap().packages[0];
        package.fallback_urls = vec![std::mem::replace(&mut package.url, base + "oem-test.gz")];
        node.install(plan)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert!(
            node.read(&format!("{DIRECTORY}/2.0.0/oem-test.raw")) == oem(),
            "{what}"
        );
    }
    // The last one's fault is the attempt's.
    let node = Node::with_two_good_slots();
    let mut plan = planned(&http, &oem());
    let package = &mut plan.extensions.as_mut().unwrap().packages[0];
    package.url = http.url("changed/oem-test.gz");
    package.fallback_urls = vec![closed() + "oem-test.gz"];
    let error = node.install(plan).await.unwrap_err();
    let InstallError::Extension { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(**source, ExtensionError::Fetch { .. }), "{source:?}");
    assert_eq!(names(&node, DIRECTORY), [""; 0]);
}
