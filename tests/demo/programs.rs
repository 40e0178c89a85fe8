//! Running our own programs.

use std::path::Path;
use std::process::Command;

use super::Outcome;

/// One of our programs: they are built beside this one.
pub fn program(name: &str) -> Command {
    let directory = std::env::current_exe().unwrap_or_default();
    Command::new(directory.ancestors().nth(2).unwrap_or(Path::new(".")).join(name))
}

/// Runs `command`; what it printed, or what it complained of.
pub fn succeed(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{name} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
