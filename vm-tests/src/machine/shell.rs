//! Shell in the guest: the runner's end of `guest/shell`.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::patience::{LOOK, Pulse};

pub(super) struct Shell {
    lines: BufReader<UnixStream>,
    pulse: Pulse,
}

impl Shell {
    pub(super) fn new(stream: UnixStream, pulse: &Pulse) -> Self {
        Self {
            lines: BufReader::new(stream),
            pulse: pulse.clone(),
        }
    }

    /// The request waits in the socket until the guest is up and reads it.
    pub(super) fn run(&mut self, script: &str) -> Result<String> {
        let answer = self
            .ask(script)
            .with_context(|| format!("no answer to {script:?}"))?;
        let (status, output) = answer
            .trim_end()
            .split_once(' ')
            .unwrap_or((answer.trim_end(), ""));
        let output = BASE64_STANDARD
            .decode(output)
            .context("the guest's answer is no base64")?;
        let output = String::from_utf8_lossy(&output).into_owned();
        if status != "0" {
            bail!("{script:?} ended with status {status}:\n{output}");
        }
        Ok(output)
    }

    /// Sends a script without waiting for its answer: the machine may be down before it comes.
    pub(super) fn send(&self, script: &str) -> Result<()> {
        let mut request = BASE64_STANDARD.encode(script);
        request.push('\n');
        Ok(self.lines.get_ref().write_all(request.as_bytes())?)
    }

    fn ask(&mut self, script: &str) -> Result<String> {
        self.send(script)?;
        line(&mut self.lines, &self.pulse)?.context("the machine has ended")
    }
}

/// The next line; nothing once the other end is closed.
pub(super) fn line(lines: &mut BufReader<UnixStream>, pulse: &Pulse) -> Result<Option<String>> {
    let (wait, mut line) = (pulse.wait(), Vec::new());
    lines.get_ref().set_read_timeout(Some(LOOK))?;
    loop {
        match lines.read_until(b'\n', &mut line) {
            Ok(_) if line.is_empty() => return Ok(None),
            Ok(_) => return Ok(Some(String::from_utf8(line)?)),
            // What came before the time was up stays in `line`.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if wait.is_over() {
                    bail!("nothing came");
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
