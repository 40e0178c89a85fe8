//! Running what others wrote.

use std::process::{Command, Stdio};

use super::Outcome;

/// `script`, run by bash with pipefail. Its words are paths of ours: no quoting is needed.
pub fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c", script])
        .stdin(Stdio::null());
    command
}

/// Runs `script`; what it complained of is the error.
pub fn run(script: &str) -> Outcome {
    let output = bash(script).output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{script}: {}: {told}", output.status).into())
}
