//! The flags, for the parser and for those who make manuals of them.

use update_engine::flags::{Flag, FlagKind};

/// Those of the reboot manager.
pub(crate) const MANAGER: &[Flag] = &[
    Flag {
        name: "root",
        kind: FlagKind::Text,
        help: "directory that stands for /",
    },
    Flag {
        name: "hurry",
        kind: FlagKind::Switch,
        help: "pauses of a hundredth of their length; only with -root",
    },
];
