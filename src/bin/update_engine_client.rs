//! `update_engine_client`: client of the update engine, for operators and scripts.

use std::process::ExitCode;

use clap::Parser as _;

use update_engine::client::native::{self, Arguments};
use update_engine::client::{self, Outcome};
use update_engine::flags::{self, CommandLine, FlagRequest};

const PROGRAM: &str = "update_engine_client";

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    // What is no text is no command.
    let texts = arguments
        .iter()
        .map(|argument| argument.to_str().unwrap_or_default());
    if Arguments::are_meant(texts) {
        return native(Arguments::parse());
    }
    match flags::parse(client::FLAGS, arguments) {
        Ok(FlagRequest::Run(line)) => run(&line),
        Ok(FlagRequest::Help) => {
            let flags = flags::help(PROGRAM, "asks the update engine", client::FLAGS);
            print!("{flags}{}", native::summary());
            ExitCode::FAILURE
        }
        Ok(FlagRequest::Version) => {
            println!("{PROGRAM}");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn native(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(native::run(arguments))) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            eprintln!("{PROGRAM}: cannot start: {error}");
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
