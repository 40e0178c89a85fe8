//! The reboot manager before a real etcd as sites run it: three members, and certificates.

use std::path::Path;

use update_engine::disk::SlotName;

use super::manager::Machine;
use crate::support::etcd_cluster::EtcdCluster;
use crate::support::health::{become_healthy, require_a_file};
use test_support::certificates::Authority;

const CERTIFICATE: &str = "LOCKSMITHD_ETCD_CERTFILE=/etc/ssl/etcd/client.pem\n\
    LOCKSMITHD_ETCD_KEYFILE=/etc/ssl/etcd/client-key.pem\n";

/// A machine with a certificate of its own, which takes the lock in `etcd`.
pub(super) async fn machine_with_certificate(etcd: &EtcdCluster, api: &str) -> Machine {
    let lines = format!(
        "REBOOT_STRATEGY=etcd-lock\nREBOOT_ETCD_API={api}\nLOCKSMITHD_ENDPOINT={}\n\
         LOCKSMITHD_ETCD_CAFILE=/etc/ssl/etcd/ca.pem\n{CERTIFICATE}",
        etcd.urls()
    );
    let machine = Machine::with('1', &lines).await;
    let give = |name: &str, from: &Path| {
        let contents = std::fs::read(from).unwrap();
        machine
            .scene
            .node
            .write(&format!("/etc/ssl/etcd/{name}"), &contents);
    };
    let (certificate, key) = etcd.authority().client();
    give("ca.pem", &etcd.authority().certificate());
    give("client.pem", &certificate);
    give("client-key.pem", &key);
    require_a_file(&machine.scene.node);
    machine
}

/// Whoever shows no certificate is not let in; one of three members may die under the lock, and no two.
async fn one_of_three_members_dies(api: &str) {
    let Some(mut etcd) = EtcdCluster::start(3, true) else {
        return;
    };
    let mut machine = machine_with_certificate(&etcd, api).await;
    let id = "1".repeat(32);
    let held = format!("Available: 0\nMax: 1\n\nMACHINE ID\n{id}\n");
    let free = "Available: 1\nMax: 1\n";
    machine.boot(SlotName::A).await;
    machine.update().await;
    machine.is_asked_to_reboot(1).await;
    assert_eq!(machine.lock_command(&["status"]).await.0, held);

    etcd.lose_a_member();
    assert_eq!(machine.reboot().await, SlotName::B);
    machine.manager().reaches("on-trial").await;
    assert_eq!(machine.lock_command(&["status"]).await.0, held);
    become_healthy(&machine.scene.node);
    machine.manager().reaches("idle").await;
    assert_eq!(machine.lock_command(&["status"]).await.0, free);

    let without = "LOCKSMITHD_ETCD_CERTFILE=\nLOCKSMITHD_ETCD_KEYFILE=\n";
    machine.scene.configure(without);
    let (told, error, code) = machine.lock_command(&["status"]).await;
    assert_eq!((told.as_str(), code), ("", 3), "{error}");
    assert!(error.contains("does not answer"), "{error}");

    machine.scene.configure(CERTIFICATE);
    etcd.lose_a_member();
    let (told, error, code) = machine.lock_command(&["lock"]).await;
    assert_eq!((told.as_str(), code), ("", 3), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_members_dies_under_a_lock_in_v3() {
    one_of_three_members_dies("v3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_members_dies_under_a_lock_in_v2() {
    one_of_three_members_dies("v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_without_locksmiths_api_says_what_to_do() {
    let Some(etcd) = EtcdCluster::start(1, false) else {
        return;
    };
    let mut machine = machine_with_certificate(&etcd, "v2").await;
    machine.boot(SlotName::A).await;
    machine.update().await;
    let why = "has no v2 API: start it with --enable-v2, or set REBOOT_ETCD_API=v3 on all nodes of the group";
    machine.tells(why).await;
    let (_, told, _) = machine.lock_command(&["status"]).await;
    assert!(told.contains(why), "{told}");
    assert_eq!(machine.logind.reboots(), 0);
}

/// What is wrong, and in which file, once each.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_told_with_their_fault() {
    let lines = "REBOOT_STRATEGY=etcd-lock\nLOCKSMITHD_ETCD_CAFILE=/etc/ssl/etcd/ca.pem\n";
    let machine = Machine::with('1', &format!("{lines}{CERTIFICATE}")).await;
    let authority = Authority::new();
    let (certificate, key) = authority.client();
    let give = |name: &str, contents: Vec<u8>| {
        machine
            .scene
            .node
            .write(&format!("/etc/ssl/etcd/{name}"), &contents);
    };
    give("ca.pem", b"none\n".to_vec());
    give("client.pem", std::fs::read(certificate).unwrap());
    give("client-key.pem", b"none\n".to_vec());
    let fault = "no certificate or key can be read: no items found";
    let (_, error, code) = machine.lock_command(&["status"]).await;
    assert_eq!((error, code), (format!("/etc/ssl/etcd/ca.pem: {fault}\n"), 1));

    give("ca.pem", std::fs::read(authority.certificate()).unwrap());
    let (_, error, code) = machine.lock_command(&["status"]).await;
    let files = "/etc/ssl/etcd/client.pem, /etc/ssl/etcd/client-key.pem";
    assert_eq!((error, code), (format!("{files}: {fault}\n"), 1));

    give("client-key.pem", std::fs::read(key).unwrap());
    machine.scene.configure("LOCKSMITHD_ENDPOINT=ftp://etcd\n");
    let (_, error, code) = machine.lock_command(&["status"]).await;
    let fault = "LOCKSMITHD_ENDPOINT: \"ftp://etcd\" is not an http or https URL\n";
    assert_eq!((error.as_str(), code), (fault, 1));
}
