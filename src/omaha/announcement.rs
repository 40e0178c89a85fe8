//! The announcement of a system that has no slots: it tells its server that it is there.

use std::fmt::Write as _;

use super::escape::Escaped;
use super::identity::NodeIdentity;

/// Not `CoreOSUpdateEngine-…`: together with a scheduled request that is how Nebraska knows another
/// Nebraska.
const UPDATER: &str = "FlatcarUpdateEngine-0.1.0.0";

/// The document to post. It asks for nothing: one event says that this version booted, with no word
/// about what ran before.
#[must_use]
pub fn announcement(identity: &NodeIdentity) -> String {
    let attributes = [
        ("appid", identity.app_id.as_str()),
        ("oem", &identity.oem),
        ("version", &identity.version),
        ("track", &identity.track),
        ("bootid", &identity.boot_id),
        ("machineid", &identity.machine_id),
        ("machinealias", &identity.machine_alias),
        ("lang", "en-US"),
        ("hardware_class", ""),
        ("delta_okay", "false"),
    ];
    let attributes = attributes.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = write!(text, r#" {name}="{}""#, Escaped(value));
        text
    });
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<request protocol="3.0" version="{UPDATER}" updaterversion="{UPDATER}" installsource="scheduler" ismachine="1">
    <os version="Chateau" platform="CoreOS" sp="{}"></os>
    <app{attributes}>
        <event eventtype="3" eventresult="2" previousversion=""></event>
    </app>
</request>
"#,
        Escaped(&identity.version)
    )
}
