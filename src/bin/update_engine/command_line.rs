//! Flags, for the parser and for manual pages.

use update_engine::flags::{Flag, Kind};

const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, help }
}

const ROOT: Flag = flag("root", Kind::Text, "directory that stands for /");

/// Flags of the daemon.
pub(crate) const DAEMON: &[Flag] = &[
    flag("foreground", Kind::Switch, "don't daemonize"),
    ROOT,
    flag(
        "disk",
        Kind::Text,
        "disk or image that holds the slots; found by the mount of /usr else",
    ),
    flag(
        "running_slot",
        Kind::Text,
        "A or B: the slot that runs, with -disk",
    ),
    flag("bus_peer", Kind::Text, "socket to serve without a message bus"),
    flag(
        "skip_postinst",
        Kind::Switch,
        "don't run the image's postinst; only with -root",
    ),
];

/// Flags of the program's other names.
pub(crate) const ROLE: &[Flag] = &[ROOT];
