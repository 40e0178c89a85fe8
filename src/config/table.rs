//! The table of all configuration keys.

use super::setting::{Place, Setting, ValueKind};
use super::{DEFAULT_APP_ID, PUBLIC_SERVER};

/// All of them, in the order of the reference.
pub const SETTINGS: [&Setting; 33] = [
    &SERVER,
    &GROUP,
    &MACHINE_ALIAS,
    &VERSION,
    &BOARD,
    &APP_ID,
    &PCR_POLICY_SERVER,
    &DOWNLOAD_USER,
    &DOWNLOAD_PASSWORD,
    &ACTIVATE,
    &REPLACE_WAITING_UPDATE,
    &REQUIRE_SIGNED_METADATA,
    &CONTENT_PAYLOADS,
    &EXTENSIONS,
    &EXTENSIONS_DIRECTORY,
    &EXTENSIONS_JUDGED,
    &HEALTH_UNITS,
    &HEALTH_SETTLE,
    &HEALTH_DEADLINE,
    &HEALTH_REGRESSIONS,
    &HEALTH_EXCUSED,
    &TRIAL_DEADLINE,
    &TRIAL_DEADLINE_WATCHDOG,
    &INSTALL_PRIORITY,
    &INSTALL_PRIORITY_ON_DEMAND,
    &INSTALL_PRESSURE_CPU,
    &INSTALL_PRESSURE_IO,
    &INSTALL_PRESSURE_MEMORY,
    &DOWNLOAD_LIMIT,
    &DOWNLOAD_FLOOR,
    &METRICS_FILE,
    &OEM_ID,
    &OEM_VERSION,
];

const fn text(key: &'static str, default: &'static str, meaning: &'static str) -> Setting {
    Setting {
        key,
        place: Place::Update,
        kind: ValueKind::Text,
        default,
        otherwise: default,
        meaning,
    }
}

/// Words for no and yes.
const ANSWER: ValueKind = ValueKind::Word(&["no", "false", "off", "0", "yes", "true", "on", "1"]);

pub(super) const SERVER: Setting = Setting {
    kind: ValueKind::Url,
    ..text(
        "SERVER",
        PUBLIC_SERVER,
        "URL that requests are posted to; `disabled`: no update is ever looked for",
    )
};
pub(super) const GROUP: Setting = text("GROUP", "stable", "the channel to follow");
pub(super) const MACHINE_ALIAS: Setting =
    text("MACHINE_ALIAS", "", "a name for this machine, told to the server");
pub(super) const VERSION: Setting = text(
    "FLATCAR_RELEASE_VERSION",
    "",
    "the running version; the image brings it",
);
pub(super) const BOARD: Setting = text(
    "FLATCAR_RELEASE_BOARD",
    "",
    "such as `amd64-usr`; the image brings it",
);
pub(super) const APP_ID: Setting = text(
    "FLATCAR_RELEASE_APPID",
    DEFAULT_APP_ID,
    "which product to ask the server for, verbatim",
);
pub(super) const PCR_POLICY_SERVER: Setting = Setting {
    kind: ValueKind::Url,
    ..text(
        "PCR_POLICY_SERVER",
        "",
        "URL that a payload's PCR policy is posted to; empty: nowhere",
    )
};
pub(super) const DOWNLOAD_USER: Setting = text(
    "DOWNLOAD_USER",
    "",
    "user name for the payload's server, sent over https only; empty: none",
);
pub(super) const DOWNLOAD_PASSWORD: Setting = Setting {
    kind: ValueKind::Secret,
    ..text("DOWNLOAD_PASSWORD", "", "the password that goes with it")
};

pub(super) const ACTIVATE: Setting = Setting {
    kind: ValueKind::Word(&["at-once", "reboot", "order"]),
    otherwise: "order",
    ..text(
        "ACTIVATE",
        "at-once",
        "when an update that is installed becomes the next to boot: as soon as it is verified, by an orderly reboot, or by order alone \
         ([staging.md](staging.md)); a value that can't be used counts as `order`",
    )
};

pub(super) const REPLACE_WAITING_UPDATE: Setting = Setting {
    kind: ANSWER,
    ..text(
        "REPLACE_WAITING_UPDATE",
        "no",
        "whether another update may take the place of one that waits for its reboot ([waiting.md](waiting.md))",
    )
};

pub(super) const REQUIRE_SIGNED_METADATA: Setting = Setting {
    kind: ANSWER,
    otherwise: "yes",
    ..text(
        "REQUIRE_SIGNED_METADATA",
        "no",
        "whether a payload is refused, before anything is written, unless a trusted key signed its metadata: those of version 1 need the \
         signature in their offer then ([security.md](security.md#before-a-signature-is-seen)); a value that can't be used counts as `yes`",
    )
};

pub(super) const CONTENT_PAYLOADS: Setting = Setting {
    kind: ANSWER,
    ..text(
        "CONTENT_PAYLOADS",
        "no",
        "whether a content payload that an offer lists beside its payload is tried first, of which a node fetches only what the \
         running slot doesn't have ([content-payloads.md](content-payloads.md)); if that fails, the payload is fetched instead",
    )
};

pub(super) const EXTENSIONS: Setting = text(
    "EXTENSIONS",
    "",
    "packages of an offer that the daemon itself puts in place together with the slot, without their `.gz`, separated by \
     blanks; `*` stands for any text ([below](#extensions)); empty: none",
);
pub(super) const EXTENSIONS_DIRECTORY: Setting = text(
    "EXTENSIONS_DIRECTORY",
    "/var/lib/update_engine/extensions",
    "absolute path of the directory in which each version gets its own",
);

pub(super) const EXTENSIONS_JUDGED: Setting = Setting {
    kind: ValueKind::Word(&["warn", "refuse", "off"]),
    ..text(
        "EXTENSIONS_JUDGED",
        "warn",
        "what becomes of an update whose image would not merge a system or configuration extension that is merged now and stays \
         the same ([below](#extensions-that-the-new-image-would-not-merge)): it is installed with a warning, refused, or not checked",
    )
};

pub(super) const HEALTH_UNITS: Setting = text(
    "HEALTH_UNITS",
    "",
    "systemd units that must be active before a new slot is kept, separated by blanks ([health.md](health.md))",
);
const SECONDS: ValueKind = ValueKind::Number {
    unit: "seconds",
    min: 0,
    max: u32::MAX as u64,
    zero: None,
};
pub(super) const HEALTH_SETTLE: Setting = Setting {
    kind: SECONDS,
    ..text(
        "HEALTH_SETTLE",
        "45",
        "how long everything must hold without a break",
    )
};
pub(super) const HEALTH_DEADLINE: Setting = Setting {
    kind: ValueKind::Number {
        unit: "seconds",
        min: 1,
        max: u32::MAX as u64,
        zero: Some("as long as it takes"),
    },
    ..text(
        "HEALTH_DEADLINE",
        "600",
        "by when after the daemon's first start in a boot health must be established",
    )
};

pub(super) const HEALTH_REGRESSIONS: Setting = Setting {
    kind: ValueKind::Word(&["rollback", "report", "off"]),
    ..text(
        "HEALTH_REGRESSIONS",
        "rollback",
        "what follows when a new slot has lost, by the image's doing, what was well before the update: `rollback` takes the node \
         back, `report` only says so, `off` neither records nor compares anything ([health.md](health.md))",
    )
};
pub(super) const HEALTH_EXCUSED: Setting = text(
    "HEALTH_EXCUSED",
    "",
    "units that may be lost or fail after an update without a report, separated by blanks",
);

pub(super) const TRIAL_DEADLINE: Setting = Setting {
    kind: ValueKind::Number {
        unit: "seconds",
        min: 1,
        max: 604_800,
        zero: Some("never"),
    },
    ..text(
        "TRIAL_DEADLINE",
        "0",
        "by when after the boot a new slot must be marked good, whether or not any daemon runs; else the node is reset, and the \
         other slot boots. It must be later than `HEALTH_DEADLINE` and `HEALTH_SETTLE` together, and waits for these where the \
         daemon starts late ([deadline.md](deadline.md))",
    )
};

pub(super) const TRIAL_DEADLINE_WATCHDOG: Setting = Setting {
    kind: ValueKind::Word(&["softdog", "hardware", "off"]),
    ..text(
        "TRIAL_DEADLINE_WATCHDOG",
        "softdog",
        "the watchdog that stands behind the trial deadline: the kernel's own, hardware if some is free and else softdog, or \
         none. `hardware` is for images in which no program wants it for itself ([deadline.md](deadline.md))",
    )
};

const PRIORITY: ValueKind = ValueKind::Word(&["normal", "low", "idle"]);
pub(super) const INSTALL_PRIORITY: Setting = Setting {
    kind: PRIORITY,
    ..text(
        "INSTALL_PRIORITY",
        "low",
        "how an update that the timer found claims processor and disk",
    )
};
pub(super) const INSTALL_PRIORITY_ON_DEMAND: Setting = Setting {
    kind: PRIORITY,
    ..text(
        "INSTALL_PRIORITY_ON_DEMAND",
        "normal",
        "the same for an update that an operator asked for",
    )
};

const PRESSURE: ValueKind = ValueKind::Number {
    unit: "percent",
    min: 1,
    max: 100,
    zero: Some("not looked at"),
};
const fn pressure(key: &'static str, meaning: &'static str) -> Setting {
    Setting {
        kind: PRESSURE,
        ..text(key, "0", meaning)
    }
}
pub(super) const INSTALL_PRESSURE_CPU: Setting = pressure(
    "INSTALL_PRESSURE_CPU",
    "pressure on the processor (PSI) at which an installation pauses",
);
pub(super) const INSTALL_PRESSURE_IO: Setting = pressure(
    "INSTALL_PRESSURE_IO",
    "the same for the disks; writing an update raises it",
);
pub(super) const INSTALL_PRESSURE_MEMORY: Setting =
    pressure("INSTALL_PRESSURE_MEMORY", "the same for memory");

pub(super) const DOWNLOAD_LIMIT: Setting = Setting {
    kind: ValueKind::Number {
        unit: "bytes per second",
        min: 16 << 10,
        max: 1 << 40,
        zero: Some("no limit"),
    },
    ..text("DOWNLOAD_LIMIT", "0", "how fast payloads are downloaded at most")
};

pub(super) const DOWNLOAD_FLOOR: Setting = Setting {
    kind: ValueKind::Number {
        unit: "bytes per second",
        min: 1,
        max: 16 << 10,
        zero: Some("it may take for ever"),
    },
    ..text(
        "DOWNLOAD_FLOOR",
        "256",
        "least rate of a payload's server, on average over an hour of waiting for it; below it the offer's next URL is tried, or \
         the attempt ends and a later one continues",
    )
};

pub(super) const METRICS_FILE: Setting = text(
    "METRICS_FILE",
    "",
    "absolute path of a file for Prometheus, kept up to date while the daemon runs; empty: none ([monitoring.md](monitoring.md))",
);

pub(super) const OEM_ID: Setting = Setting {
    place: Place::Oem,
    ..text("ID", "", "the OEM's name, told to the server")
};
pub(super) const OEM_VERSION: Setting = Setting {
    place: Place::Oem,
    ..text("VERSION_ID", "", "the OEM's version, likewise")
};
