//! Installations by the library: without daemon, bus and Omaha.

use payload_format::Sha256Digest;
use test_support::fixtures;
use tokio_util::sync::CancellationToken;
use update_engine::disk::SlotName;
use update_engine::install::{Downloaded, InstallError, Installer, Site};
use update_engine::plan::{ExtensionJudging, InstallPlan};

/// A plan for slot B, of a payload that lies at `url`.
pub(crate) fn plan(url: String, payload: &[u8]) -> InstallPlan {
    InstallPlan {
        version: "2.0.0".to_owned(),
        url,
        fallback_urls: Vec::new(),
        payload_size: payload.len() as u64,
        payload_sha256: Sha256Digest::of(payload),
        metadata: None,
        signed_metadata: false,
        is_delta: false,
        content: None,
        target: SlotName::B,
        target_kernel: "/boot/flatcar/vmlinuz-b".to_owned(),
        source_kernel: "/boot/flatcar/vmlinuz-a".to_owned(),
        pcr_policy: "/var/lib/update_engine/pcrs-b.zip".to_owned(),
        pcr_policy_server: None,
        credentials: None,
        extra_partitions: Vec::new(),
        extensions: None,
        extensions_judged: ExtensionJudging::Warn,
        blocked_images: Vec::new(),
        public_keys: vec![fixtures::payload("test-key.pub.pem")],
    }
}

/// Preflight and download.
pub(crate) async fn download(plan: InstallPlan, site: Site) -> Result<Downloaded, InstallError> {
    let ready = Installer::new(plan, site).prepare().await?;
    ready.download(&mut |_| {}, &CancellationToken::new()).await
}

/// All phases.
pub(crate) async fn install(plan: InstallPlan, site: Site) -> Result<(), InstallError> {
    let cancel = CancellationToken::new();
    let verified = download(plan, site).await?.verify(&cancel).await?;
    verified.postinstall(&cancel).await?.commit().await.map(drop)
}
