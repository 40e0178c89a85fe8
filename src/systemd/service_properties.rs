//! The properties of a transient unit that runs a program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use zbus::{Fd, Variant};

/// A program to run as a service.
#[derive(Debug)]
pub struct TransientService<'a> {
    /// Path of the program.
    pub program: &'a Path,
    /// The program's `argv[0]`; its path if none.
    pub name: Option<&'a str>,
    /// The arguments after `argv[0]`.
    pub args: &'a [OsString],
    /// The environment, all of it.
    pub environment: Vec<(&'static str, OsString)>,
    /// `RuntimeMaxSec`: systemd ends the program after this time, should no daemon wait for it any
    /// more.
    pub limit: Duration,
}

impl TransientService<'_> {
    /// The properties that `StartTransientUnit` takes; both streams go to `output`.
    pub(super) fn properties(&self, output: PipeWriter) -> io::Result<Vec<(&'static str, Variant<'static>)>> {
        let path = text(self.program.as_os_str());
        let name = self.name.unwrap_or(path.as_str()).to_owned();
        let arguments: Vec<String> = std::iter::once(name)
            .chain(self.args.iter().map(|arg| text(arg)))
            .collect();
        let environment: Vec<String> = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect();
        let limit = self.limit.as_micros();
        let output = OwnedFd::from(output);
        let (out, err) = (Fd::from(output.try_clone()?), Fd::from(output));
        let mut properties = vec![
            (
                "Description",
                Variant::from(format!("Run by the update engine: {path}")),
            ),
            ("Type", Variant::from("exec")),
            ("ExecStart", Variant::from(vec![(path, arguments, false)])),
            ("Environment", Variant::from(environment)),
            ("StandardInput", Variant::from("null")),
            ("StandardOutputFileDescriptor", Variant::from(out)),
            ("StandardErrorFileDescriptor", Variant::from(err)),
            // The slot is mounted below it; the mount and what is written there go with the unit.
            ("PrivateTmp", Variant::from(true)),
            (
                "RuntimeMaxUSec",
                Variant::from(u64::try_from(limit).unwrap_or(u64::MAX)),
            ),
            ("CollectMode", Variant::from("inactive-or-failed")),
            // Until our connection is gone, so that its end can be asked about.
            ("AddRef", Variant::from(true)),
        ];
        if let Some(own) = own_unit() {
            properties.push(("BindsTo", Variant::from(vec![own.clone()])));
            // On stopping, the order is the other way round: the daemon ends first, and reports an
            // attempt that was interrupted, not a postinst that failed.
            properties.push(("Before", Variant::from(vec![own])));
        }
        Ok(properties)
    }
}

fn text(text: &OsStr) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

/// The daemon's own service, if systemd started it.
fn own_unit() -> Option<String> {
    unit_in(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn unit_in(cgroups: &str) -> Option<String> {
    let path = cgroups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    })?;
    let unit = path.rsplit('/').next()?;
    unit.ends_with(".service").then(|| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_unit_is_the_last_part_of_our_control_group() {
        let unit = |text| unit_in(text);
        let found = Some("update-engine.service".to_owned());
        assert_eq!(unit("0::/system.slice/update-engine.service\n"), found);
        assert_eq!(
            unit("3:cpu:/a\n1:name=systemd:/system.slice/update-engine.service\n"),
            found
        );
        assert_eq!(unit("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(unit(""), None);
    }
}
