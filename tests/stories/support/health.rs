//! A health check that tests switch.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::node::{Node, quoted};

/// The check's file.
pub const CHECK: &str = "/etc/update-engine/health.d/50-api";
/// Where a machine that is a directory records that it would reboot.
pub const REBOOT: &str = "/run/update_engine/reboot";

/// A check that says why it fails, until the file beside it is there.
pub fn require_a_file(node: &Node) {
    let gate = node.beside("healthy");
    let script = format!(
        "#!/bin/sh\n[ -e {} ] && exit 0\necho no answer on port 6443\nexit 7\n",
        quoted(gate)
    );
    node.write(CHECK, script.as_bytes());
    std::fs::set_permissions(node.path(CHECK), Permissions::from_mode(0o755)).unwrap();
}

/// From now on it holds.
pub fn become_healthy(node: &Node) {
    std::fs::write(node.beside("healthy"), "").unwrap();
}
