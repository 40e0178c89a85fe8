//! The roles that arm and keep the trial deadline: see [`update_engine::trial_deadline`].

use std::ffi::OsString;
use std::process::ExitCode;

use update_engine::engine::{record_hang, withdraw_hang};
use update_engine::flags::CommandLine;
use update_engine::host::Host;
use update_engine::journal::chain;
use update_engine::printable;
use update_engine::trial_deadline::{self, ArmError, Armed, HangRecords, NotArmed};

use super::role::refuse;

/// Arms the trial deadline; by an argument, disarms it or says how it stands.
pub(super) fn arm_or_disarm(host: &Host, line: &CommandLine) -> ExitCode {
    let said = match line.arguments.first().map(String::as_str) {
        None => arm(host),
        Some("disarm") => trial_deadline::disarm(host)
            .map(|disarmed| Some(disarmed.to_string()))
            .map_err(ArmError::from),
        Some("status") => trial_deadline::armed(host)
            .map(|state| Some(state.map_or_else(|| unarmed(host), |state| state.to_string())))
            .map_err(ArmError::from),
        Some(_) => {
            eprintln!("usage: {} [disarm|status]", trial_deadline::PROGRAM);
            return ExitCode::FAILURE;
        }
    };
    match said {
        Ok(said) => {
            if let Some(said) = said {
                println!("{}", printable(&said));
            }
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

fn unarmed(host: &Host) -> String {
    trial_deadline::why_not_armed(host).unwrap_or_else(|| "none".to_owned())
}

fn arm(host: &Host) -> Result<Option<String>, ArmError> {
    Ok(match trial_deadline::arm(host)? {
        Armed::Not(NotArmed::Off) => None,
        armed => Some(armed.to_string()),
    })
}

/// Is the process that waits for the trial deadline. Who has started it reads one line.
pub(super) fn keep(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let orders = arguments.next().unwrap_or_default();
    let records = HangRecords {
        record: |host, starting| Ok(record_hang(host, starting)?),
        withdraw: |host| Ok(withdraw_hang(host)?),
    };
    match trial_deadline::keep(&orders.to_string_lossy(), records) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", printable(&chain(&error)));
            ExitCode::FAILURE
        }
    }
}
