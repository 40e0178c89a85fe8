//! The operator's side of the update engine.

use std::process::ExitCode;

use update_engine::client::{self, Outcome};
use update_engine::flags::{self, CommandLine, Request};

const PROGRAM: &str = "update_engine_client";

fn main() -> ExitCode {
    match flags::parse(client::FLAGS, std::env::args_os().skip(1)) {
        Ok(Request::Run(line)) => run(&line),
        Ok(Request::Help) => {
            print!(
                "{}",
                flags::help(PROGRAM, "asks the update engine", client::FLAGS)
            );
            ExitCode::FAILURE
        }
        Ok(Request::Version) => {
            println!("{PROGRAM}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(client::run(line))) {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Failure) => ExitCode::FAILURE,
        Ok(Outcome::Abort) => std::process::abort(),
        Err(error) => {
            eprintln!("{PROGRAM}: cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
