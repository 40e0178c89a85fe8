//! Flags, for the parser and for manual pages.

use update_engine::flags::{Flag, FlagKind};

const fn flag(name: &'static str, kind: FlagKind, help: &'static str) -> Flag {
    Flag { name, kind, help }
}

pub(crate) const ROOT: Flag = flag("root", FlagKind::Text, "directory that stands for /");
pub(crate) const DISK: Flag = flag(
    "disk",
    FlagKind::Text,
    "disk or image that holds the slots; found by the mount of /usr else",
);
pub(crate) const RUNNING_SLOT: Flag = flag(
    "running_slot",
    FlagKind::Text,
    "A or B: the slot that runs, with -disk",
);
const SKIP_POSTINST: Flag = flag(
    "skip_postinst",
    FlagKind::Switch,
    "don't run the image's postinst; only with -root",
);

/// Flags of the daemon.
pub(crate) const DAEMON: &[Flag] = &[
    flag("foreground", FlagKind::Switch, "don't daemonize"),
    ROOT,
    DISK,
    RUNNING_SLOT,
    flag(
        "bus_peer",
        FlagKind::Text,
        "socket to serve without a message bus",
    ),
    SKIP_POSTINST,
];

/// Flags of the program's other names.
pub(crate) const ROLE: &[Flag] = &[ROOT];
