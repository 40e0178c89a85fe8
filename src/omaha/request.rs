//! Requests to an Omaha server, as XML: of a node, whose identity each tells, and of a system that has
//! no slots and announces itself.
//!
//! Servers parse XML and would take any; attribute order, indentation and the space before the
//! `app` element's `>` are kept nevertheless exactly as the original engine sends them, since
//! capture-and-compare tests and simple-minded servers exist. One deliberate difference: `"` in a
//! value is escaped, which the original forgets, so that a machine alias with a quote makes a valid
//! request.

use std::fmt::Write as _;

use super::document::Escaped;
use super::event::{AttemptEvent, CheckEvent};
use crate::status::Trigger;

/// What every request says about the machine and the image it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The application asked about.
    pub app_id: String,
    /// The running version.
    pub version: String,
    /// The channel followed.
    pub track: String,
    /// Boot id in braces: `{14304914-…}`.
    pub boot_id: String,
    /// OEM, may be empty.
    pub oem: String,
    /// OEM's version, may be empty.
    pub oem_version: String,
    /// The first version ever seen on this machine.
    pub aleph_version: String,
    /// Machine id, 32 hexadecimal digits.
    pub machine_id: String,
    /// An operator's name for the machine, any text.
    pub machine_alias: String,
    /// Board, such as `amd64-usr`.
    pub board: String,
    /// Machine as `uname -m` tells it, such as `x86_64`.
    pub machine: String,
}

/// What the machine itself tells, beside the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineIdentity {
    /// Boot id as the kernel tells it, without braces.
    pub boot_id: String,
    /// Contents of `/etc/machine-id`, trimmed.
    pub machine_id: String,
    /// Machine as `uname -m` tells it.
    pub machine: String,
    /// The first version ever seen on this machine.
    pub aleph_version: String,
}

/// Name and version of the updater, as the original calls itself. Not `CoreOSUpdateEngine-0.1.0.0`:
/// that one makes Nebraska take a machine for another Nebraska.
const UPDATER: &str = "update_engine-0.4.10";

/// Whether the server may offer a delta. The original always says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deltas {
    /// `delta_okay="true"`.
    Welcome,
    /// `delta_okay="false"`.
    Unwanted,
}

impl Deltas {
    const fn okay(self) -> &'static str {
        match self {
            Self::Welcome => "true",
            Self::Unwanted => "false",
        }
    }
}

/// The attribute `installsource`.
const fn install_source(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Operator => "ondemandupdate",
        Trigger::Schedule => "scheduler",
    }
}

/// The inner part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Is there an update? Carries what became of the last one.
    Check(CheckEvent),
    /// Still alive, waiting for a reboot.
    Ping,
    /// Still alive, and what became of the last update. Asks for no update: none could be taken
    /// now.
    PingWithEvent(CheckEvent),
    /// Something happened during an attempt.
    Event(AttemptEvent),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The node and the image it runs.
    pub identity: &'a NodeIdentity,
    /// Why it is sent.
    pub trigger: Trigger,
    /// Whether a delta may be offered.
    pub deltas: Deltas,
    /// The question or the event.
    pub body: Body,
}

impl Request<'_> {
    /// The document to post, trailing newline included.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(1024);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
        writeln!(
            out,
            r#"<request protocol="3.0" version="{UPDATER}" updaterversion="{UPDATER}" installsource="{}" ismachine="1">"#,
            install_source(self.trigger)
        )?;
        writeln!(
            out,
            r#"    <os version="Chateau" platform="CoreOS" sp="{}_{}"></os>"#,
            Escaped(&self.identity.version),
            Escaped(&self.identity.machine)
        )?;
        self.write_app_start(out)?;
        self.write_body(out)?;
        writeln!(out, "    </app>")?;
        writeln!(out, "</request>")
    }

    fn write_app_start(&self, out: &mut String) -> std::fmt::Result {
        let id = self.identity;
        out.push_str("    <app");
        for (name, value) in [
            ("appid", id.app_id.as_str()),
            ("version", &id.version),
            ("track", &id.track),
            ("bootid", &id.boot_id),
            ("oem", &id.oem),
            ("oemversion", &id.oem_version),
            ("alephversion", &id.aleph_version),
            ("machineid", &id.machine_id),
            ("machinealias", &id.machine_alias),
            ("lang", "en-US"),
            ("board", &id.board),
            ("hardware_class", ""),
            ("delta_okay", self.deltas.okay()),
        ] {
            write!(out, r#" {name}="{}""#, Escaped(value))?;
        }
        writeln!(out, " >")
    }

    fn write_body(&self, out: &mut String) -> std::fmt::Result {
        const PING: &str = r#"        <ping active="1"></ping>"#;
        const CHECK: &str = "        <updatecheck></updatecheck>";
        match &self.body {
            Body::Ping => writeln!(out, "{PING}"),
            Body::Check(event) => writeln!(out, "{PING}\n{CHECK}\n        {event}"),
            Body::PingWithEvent(event) => writeln!(out, "{PING}\n        {event}"),
            Body::Event(event) => writeln!(out, "        {event}"),
        }
    }
}

/// Not `CoreOSUpdateEngine-…`: together with a scheduled request that is how Nebraska knows another
/// Nebraska.
const ANNOUNCING_UPDATER: &str = "FlatcarUpdateEngine-0.1.0.0";

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
<request protocol="3.0" version="{ANNOUNCING_UPDATER}" updaterversion="{ANNOUNCING_UPDATER}" installsource="scheduler" ismachine="1">
    <os version="Chateau" platform="CoreOS" sp="{}"></os>
    <app{attributes}>
        <event eventtype="3" eventresult="2" previousversion=""></event>
    </app>
</request>
"#,
        Escaped(&identity.version)
    )
}

#[cfg(test)]
mod tests;
