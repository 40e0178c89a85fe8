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

use std::io::{self, PipeWriter};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use zbus::fdo::{PropertiesChangedStream, PropertiesProxy};
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath};

use super::TransientService;
use super::manager::{SERVICE, SystemdManagerProxy, SystemdServiceProxy, SystemdUnitProxy};

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
}
