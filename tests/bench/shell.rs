//! Running what others wrote.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Outcome;

/// `script`, run by bash with pipefail.
pub fn bash(script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-o", "pipefail", "-c", script])
        .stdin(Stdio::null());
    command
}

/// A path, or a script for another shell, as one word of a script.
pub fn word(path: &(impl AsRef<Path> + ?Sized)) -> String {
    let path = path.as_ref().display().to_string();
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// Runs `script`; what it complained of is the error.
pub fn run(script: &str) -> Outcome {
    output(script).map(drop)
}

/// Likewise; gives what it printed.
pub fn output(script: &str) -> Outcome<String> {
    let output = bash(script).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{script}: {}: {told}", output.status).into())
}
