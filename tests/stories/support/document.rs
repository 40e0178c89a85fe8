//! What `docs` tell people to type.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of this build.
const PROGRAM: &str = env!("CARGO_BIN_EXE_update_payload");

pub fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The shell blocks of a document, or of a part of it, in order.
pub fn shell(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// The shell blocks below a heading, up to the next one.
pub fn blocks(name: &str, heading: &str) -> Vec<String> {
    let text = document(name);
    let (_, section) = text
        .split_once(&format!("# {heading}\n"))
        .unwrap_or_else(|| panic!("{name} has no {heading:?}"));
    let section = section.split("\n## ").next().unwrap();
    shell(section.split("\n### ").next().unwrap())
}

/// A block, ready to be run in `directory`, with our programs at hand and `stand_ins` for those of
/// the machine: names and what a shell does instead.
pub fn command(block: &str, directory: &Path, stand_ins: &[(&str, &str)]) -> Command {
    let functions = stand_ins
        .iter()
        .map(|(name, body)| format!("{name}() {{ {body}; }}\n"));
    let script = functions.chain([block.to_owned()]).collect::<String>();
    let ours = Path::new(PROGRAM).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", &script]).current_dir(directory);
    command.env("PATH", format!("{}:{path}", ours.display()));
    command
}

/// Runs it; gives what it prints.
pub fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{errors}");
    said
}

/// Says what it was asked.
pub const SYSTEMCTL: (&str, &str) = ("systemctl", "echo systemctl \"$@\"");
