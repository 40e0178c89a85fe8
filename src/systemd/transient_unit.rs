//! A transient unit: a program run as a service of its own, systemd's child and not the daemon's,
//! so that the limits of the daemon's unit don't apply to it.
//!
//! ```text
//!  leftover of that name stopped ─▶ StartTransientUnit ─▶ active … ─▶ inactive | failed ─▶ code, status
//!                                     standard output: our pipe          (PropertiesChanged)
//! ```
//!
//! The unit is bound to the daemon's own: it doesn't outlive a daemon that crashed. Drop-ins for
//! its name apply, as to any unit.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use zbus::fdo::{PropertiesChangedStream, PropertiesProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, Fd, OwnedObjectPath, Variant};

use super::manager::{SERVICE, SystemdManagerProxy, SystemdServiceProxy, SystemdUnitProxy};

/// The character devices that a program with limits reaches, beside those that `DevicePolicy=closed`
/// allows anyway (`/dev/null`, random numbers, terminals). Many others are ways to a disk past its
/// block device: `/dev/sg*`, `/dev/bsg/*`, `/dev/nvme*`, `/dev/ng*`, `/dev/mapper/control`.
const CHARACTER_DEVICES: [&str; 6] = [
    "/dev/fuse",
    "/dev/kmsg",
    "/dev/loop-control",
    "/dev/tpm0",
    "/dev/tpmrm0",
    "char-pts",
];

/// All capabilities but `CAP_SYS_RAWIO`, with which commands that write are passed to a disk that
/// is open for reading.
const NO_RAW_IO: u64 = !(1 << 17);

/// libblkid remembers what it finds at which path: what is shown in place of a device is not to be
/// remembered for others.
const REMEMBERED: &str = "-/run/blkid";

/// Limits of the devices that a program reaches: it can open no disk's device for writing, and pass
/// no command to one through another device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Block devices that it may write all the same.
    pub writable: Vec<PathBuf>,
}

impl DeviceLimits {
    fn properties(&self) -> Vec<(&'static str, Variant<'static>)> {
        vec![
            ("DevicePolicy", Variant::from("closed")),
            ("DeviceAllow", Variant::from(self.allowed())),
            ("CapabilityBoundingSet", Variant::from(NO_RAW_IO)),
            ("ReadOnlyPaths", Variant::from(vec![REMEMBERED.to_owned()])),
        ]
    }

    /// Devices, and what of them is allowed.
    fn allowed(&self) -> Vec<(String, String)> {
        let writable = self.writable.iter().map(|device| text(device.as_os_str()));
        let writable = writable.chain(CHARACTER_DEVICES.map(str::to_owned));
        let writable = writable.map(|device| (device, "rw".to_owned()));
        std::iter::once(("block-*".to_owned(), "r".to_owned()))
            .chain(writable)
            .collect()
    }
}

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
    /// Limits of its devices, if there are any.
    pub devices: Option<&'a DeviceLimits>,
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
        properties.extend(self.devices.iter().flat_map(|limits| limits.properties()));
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

/// How long a signal about the unit is waited for before the unit is looked at again: one may have
/// come before we listened.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// `si_code` of a process that exited; others were killed.
const CLD_EXITED: i32 = 1;

/// A service that was started. It is killed if this is dropped before its end was seen.
#[derive(Debug)]
pub struct TransientUnit {
    name: String,
    manager: SystemdManagerProxy<'static>,
    unit: SystemdUnitProxy<'static>,
    service: SystemdServiceProxy<'static>,
    changes: PropertiesChangedStream,
    ended: bool,
}

impl TransientUnit {
    /// Starts `service` as the unit `name`, both its streams going to `output`. A unit of that name
    /// that a daemon before us left behind is ended first.
    ///
    /// # Errors
    /// If systemd can't be reached or refuses.
    pub async fn start(name: &str, service: &TransientService<'_>, output: PipeWriter) -> zbus::Result<Self> {
        let mut unit = Self::watch(name).await?;
        unit.end_leftover().await?;
        let properties = service.properties(output)?;
        unit.manager
            .start_transient_unit(name, "fail", &properties, &[])
            .await?;
        Ok(unit)
    }

    async fn watch(name: &str) -> zbus::Result<Self> {
        let bus = Connection::system().await?;
        let manager = SystemdManagerProxy::new(&bus).await?;
        manager.subscribe().await?;
        let path = OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{}", escaped(name)))?;
        let properties = PropertiesProxy::builder(&bus)
            .destination(SERVICE)
            .path(path.clone())
            .build()
            .await?;
        let changes = properties.receive_properties_changed().await?;
        Ok(Self {
            name: name.to_owned(),
            manager,
            unit: SystemdUnitProxy::at(&bus, path.clone()).await?,
            service: SystemdServiceProxy::builder(&bus)
                .path(path)
                .cache_properties(CacheProperties::No)
                .build()
                .await?,
            changes,
            ended: true,
        })
    }

    async fn end_leftover(&mut self) -> zbus::Result<()> {
        // Fails if there is none, which is as it should be.
        if self.manager.stop_unit(&self.name, "replace").await.is_ok() {
            while !self.is_over().await? {
                self.changed().await?;
            }
        }
        let _ = self.manager.reset_failed_unit(&self.name).await;
        self.ended = false;
        Ok(())
    }

    async fn is_over(&self) -> zbus::Result<bool> {
        Ok(match self.unit.active_state().await {
            Ok(state) => matches!(state.as_str(), "inactive" | "failed"),
            // Forgotten altogether.
            Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => true,
            Err(error) => return Err(error),
        })
    }

    /// Waits until systemd says that something about the unit is different, or for [`LOOK_AGAIN`].
    async fn changed(&mut self) -> zbus::Result<()> {
        match tokio::time::timeout(LOOK_AGAIN, self.changes.next()).await {
            Ok(None) => Err(zbus::Error::InputOutput(
                io::Error::from(io::ErrorKind::ConnectionAborted).into(),
            )),
            _ => Ok(()),
        }
    }

    /// Waits for its end; safe to give up and call again.
    ///
    /// # Errors
    /// If systemd doesn't say how it ended.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.end().await.map_err(io::Error::other)?;
        self.ended = true;
        Ok(status)
    }

    async fn end(&mut self) -> zbus::Result<ExitStatus> {
        loop {
            let state = self.unit.active_state().await?;
            // Inactive is also what it is until systemd gets round to starting it.
            if state == "failed" || (state == "inactive" && self.service.ended().await? > 0) {
                break;
            }
            self.changed().await?;
        }
        let code = self.service.exec_main_code().await?;
        let status = self.service.exec_main_status().await?;
        Ok(ExitStatus::from_raw(if code == CLD_EXITED {
            status << 8
        } else {
            status
        }))
    }

    /// Signals all its processes.
    pub async fn signal(&self, signal: Signal) {
        if let Err(error) = self.manager.kill_unit(&self.name, "all", signal as i32).await {
            tracing::warn!(unit = self.name, %signal, %error, "cannot signal a unit");
        }
    }
}

impl Drop for TransientUnit {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (manager, name) = (self.manager.clone(), std::mem::take(&mut self.name));
        // At the daemon's end systemd does it: the unit is bound to ours.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = manager.kill_unit(&name, "all", Signal::SIGKILL as i32).await;
            });
        }
    }
}

/// The unit's name as an element of an object path.
fn escaped(name: &str) -> String {
    name.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("_{byte:02x}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_path_as_systemd_makes_it() {
        assert_eq!(escaped("update-engine.service"), "update_2dengine_2eservice");
    }

    #[test]
    fn of_block_devices_only_those_that_are_named_may_be_written_and_no_class_of_others() {
        let limits = DeviceLimits {
            writable: vec!["/dev/loop3".into()],
        };
        let writable: Vec<_> = limits
            .allowed()
            .into_iter()
            .filter(|(_, access)| access != "r")
            .collect();
        assert_eq!(writable[0], ("/dev/loop3".to_owned(), "rw".to_owned()));
        for (device, access) in &writable[1..] {
            assert_eq!(access, "rw", "{device}");
            assert!(CHARACTER_DEVICES.contains(&device.as_str()), "{device}");
            assert!(!device.contains('*'), "{device}");
        }
    }

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
