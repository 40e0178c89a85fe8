//! Writes manual pages and shell completions, from the definitions that the programs parse with.
//!
//! `manuals DIRECTORY DATE` makes `man/PAGE.SECTION`, `bash/PROGRAM`, `zsh/_PROGRAM` and
//! `fish/PROGRAM.fish` below the directory. An example, not a command of the programs: none of them
//! is the larger for it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::{Shell, generate_to};
use update_engine::client::native;

// The programs' own files: what belongs to a program alone is no part of the library.
#[path = "../../src/bin/update_payload/arguments.rs"]
#[allow(
    dead_code,
    reason = "the definitions are wanted, not what the program makes of them"
)]
mod arguments;
#[path = "../../src/bin/update_engine/command_line.rs"]
mod command_line;
#[path = "../../src/bin/update_reboot_manager/command_line.rs"]
mod manager_command_line;
mod page;
mod pages;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [directory, date] = arguments.as_slice() else {
        eprintln!("usage: manuals DIRECTORY YYYY-MM-DD");
        return ExitCode::from(2);
    };
    let directory = Path::new(directory);
    match write(directory, date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write below {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path, date: &str) -> io::Result<()> {
    let man = directory.join("man");
    fs::create_dir_all(&man)?;
    for page in pages::all() {
        fs::write(man.join(page.file_name()), page.to_roff(date))?;
    }
    for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
        let place = directory.join(name);
        fs::create_dir_all(&place)?;
        for mut command in [native::command(), arguments::Cli::command()] {
            let program = command.get_name().to_owned();
            let file = generate_to(shell, &mut command, &program, &place)?;
            // bash-completion looks for the program's bare name.
            if shell == Shell::Bash {
                fs::rename(file, place.join(program))?;
            }
        }
    }
    Ok(())
}
