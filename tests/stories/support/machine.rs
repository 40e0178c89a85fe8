//! A node that is a whole machine to its daemon: `/` has the node's files and this machine's
//! programs, and systemd seems to run it. Takes root.

use std::path::Path;

use super::node::{Node, quoted};

/// Starts the daemon on `node` so, from its next start on: below a root of its own, in a mount
/// namespace of its own, and unable to reboot anything. What the node has then is copied, but for
/// the daemon's state, which stays shared.
pub fn seems_to_be_a_machine(node: &mut Node) {
    let place = node.beside("machine");
    std::fs::create_dir_all(&place).unwrap();
    let state = node.path("/var/lib/update_engine");
    std::fs::create_dir_all(&state).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_update_engine")).parent().unwrap();
    let script = format!(
        r#"place={place} node={node} programs={programs} state={state}
           set -e; mount -t tmpfs tmpfs "$place"; cd "$place"
           for each in bin sbin lib lib32 lib64 libx32; do
               if [ -L /$each ]; then cp -a /$each .
               elif [ -d /$each ]; then mkdir $each; mount --rbind /$each $each; fi
           done
           mkdir usr dev proc sys tmp etc root run
           for each in usr dev proc sys tmp; do mount --rbind /$each $each; done
           mount -t tmpfs tmpfs usr/share; mount -t tmpfs tmpfs run
           cp /etc/ld.so.cache /etc/passwd /etc/group etc
           cp -a "$node/etc" "$node/boot" .; cp -a "$node/usr/share" usr
           mkdir -p ".$programs" var/lib/update_engine run/systemd/system
           mount --bind "$programs" ".$programs"; mount --bind "$state" var/lib/update_engine
           ln -s ../run var/run
           exec setpriv --bounding-set=-sys_boot chroot . "$0" "$@" --root /"#,
        place = quoted(place),
        node = quoted(node.path("/")),
        programs = quoted(programs),
        state = quoted(state),
    );
    node.before = format!(r#"exec unshare --mount sh -c {} "$0" "$@""#, quoted(script));
}
