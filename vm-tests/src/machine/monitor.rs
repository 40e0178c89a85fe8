//! QEMU's monitor protocol, as far as it reports the end of a machine.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::patience::Pulse;
use super::shell::line;

/// End of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Reset by its kernel: a reboot or a panic.
    Reset,
    /// Reset by the watchdog.
    Watchdog,
    /// Powered off.
    PowerOff,
}

pub(super) struct Monitor {
    lines: BufReader<UnixStream>,
    pulse: Pulse,
}

impl Monitor {
    /// Ends the negotiation, after which events come.
    pub(super) fn new(stream: UnixStream, pulse: &Pulse) -> Result<Self> {
        (&stream).write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
        Ok(Self {
            lines: BufReader::new(stream),
            pulse: pulse.clone(),
        })
    }

    /// Reads events until QEMU is gone.
    pub(super) fn end(&mut self) -> Result<End> {
        let (mut watchdog, mut end) = (false, None);
        while let Some(line) = line(&mut self.lines, &self.pulse).context("the machine doesn't end")? {
            let message: Value = serde_json::from_str(&line).context("the monitor speaks no JSON")?;
            match message["event"].as_str() {
                Some("WATCHDOG") => watchdog = true,
                Some("SHUTDOWN") => end = message["data"]["reason"].as_str().map(str::to_owned),
                _ => {}
            }
        }
        match end.as_deref() {
            Some("guest-reset" | "host-qmp-system-reset") if watchdog => Ok(End::Watchdog),
            Some("guest-reset") => Ok(End::Reset),
            Some("guest-shutdown") => Ok(End::PowerOff),
            other => bail!("QEMU ended: {other:?}, watchdog: {watchdog}"),
        }
    }
}
