//! A program as a service of its own: systemd's child, not ours, so that what limits the daemon doesn't limit
//! it.
//!
//! ```text
//!  leftover of that name stopped ─▶ StartTransientUnit ─▶ active … ─▶ inactive | failed ─▶ code, status
//!                                     standard output: our pipe          (PropertiesChanged)
//! ```
//!
//! The unit is bound to the daemon's own: it doesn't outlive a daemon that crashed. Drop-ins for its name apply,
//! as to any unit.

mod properties;

use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use zbus::fdo::{PropertiesChangedStream, PropertiesProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, Variant};

use super::{GRACE, Subprocess};

const SYSTEMD: &str = "org.freedesktop.systemd1";

/// `si_code` of a process that exited; others were killed.
const CLD_EXITED: i32 = 1;

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
trait Unit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
trait Service {
    #[zbus(property, name = "ExecMainCode")]
    fn exec_main_code(&self) -> zbus::Result<i32>;
    #[zbus(property, name = "ExecMainStatus")]
    fn exec_main_status(&self) -> zbus::Result<i32>;
    #[zbus(property, name = "ExecMainExitTimestampMonotonic")]
    fn ended(&self) -> zbus::Result<u64>;
}

/// A service that was started. It is killed if this is dropped before its end was seen.
pub(super) struct TransientUnit {
    name: String,
    manager: ManagerProxy<'static>,
    unit: UnitProxy<'static>,
    service: ServiceProxy<'static>,
    changes: PropertiesChangedStream,
    ended: bool,
}

impl TransientUnit {
    /// Starts `program` as the unit `name`, both its streams going to `output`. A unit of that name that a
    /// daemon before us left behind is ended first.
    pub(super) async fn start(name: &str, program: &Subprocess, output: PipeWriter) -> zbus::Result<Self> {
        let mut unit = Self::watch(name).await?;
        unit.end_leftover().await?;
        let properties = properties::of(program, output)?;
        unit.manager
            .start_transient_unit(name, "fail", &properties, &[])
            .await?;
        Ok(unit)
    }

    async fn watch(name: &str) -> zbus::Result<Self> {
        let bus = Connection::system().await?;
        let manager = ManagerProxy::new(&bus).await?;
        manager.subscribe().await?;
        let path = OwnedObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{}", escaped(name)))?;
        let properties = PropertiesProxy::builder(&bus)
            .destination(SYSTEMD)
            .path(path.clone())
            .build()
            .await?;
        let changes = properties.receive_properties_changed().await?;
        Ok(Self {
            name: name.to_owned(),
            manager,
            unit: UnitProxy::builder(&bus)
                .path(path.clone())
                .cache_properties(CacheProperties::No)
                .build()
                .await?,
            service: ServiceProxy::builder(&bus)
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

    /// Waits until systemd says that something about the unit is different, or for a moment: a signal may
    /// have come before we listened.
    async fn changed(&mut self) -> zbus::Result<()> {
        match tokio::time::timeout(GRACE, self.changes.next()).await {
            Ok(None) => Err(zbus::Error::InputOutput(
                io::Error::from(io::ErrorKind::ConnectionAborted).into(),
            )),
            _ => Ok(()),
        }
    }

    /// Waits for its end; safe to give up and call again.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
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
    pub(super) async fn signal(&self, signal: Signal) {
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

/// The name as a part of an object's path.
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
}
