//! The program that arms: once in the initrd or as soon as the system's units start, and again by
//! whoever wants to. What is armed stays as it is, unless nothing would be armed any more.

use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::KEEPER;
use super::control::{self, ArmedDeadline, DeadlineControlError};
use super::decision::{ArmDecision, NotArmed, Plan, decide};
use super::facts::{Facts, FactsError};
use super::keeper::{Orders, bounded};
use crate::host::Host;

/// How long disk and systemd are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The program that is running, wherever its file was.
const OURSELVES: &str = "/proc/self/exe";

/// What came of an arming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Armed {
    /// The deadline is armed.
    Now(ArmedDeadline),
    /// It was before, and is left as it was.
    Before(ArmedDeadline),
    /// It was before, and was disarmed.
    NoLonger(NotArmed),
    /// Nothing is armed.
    Not(NotArmed),
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(state) => write!(f, "trial deadline: {state}"),
            Self::Before(state) => write!(f, "trial deadline, armed before: {state}"),
            Self::NoLonger(reason) => write!(f, "trial deadline disarmed: {reason}"),
            Self::Not(reason) => write!(f, "no trial deadline: {reason}"),
        }
    }
}

/// Why nothing is armed although something might have to be.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// Nothing can be decided.
    #[error("no trial deadline")]
    Facts(#[from] FactsError),
    /// What was armed before doesn't answer.
    #[error("the trial deadline is left as it is")]
    Control(#[from] DeadlineControlError),
    /// The keeper doesn't start.
    #[error("the process that keeps the trial deadline does not start")]
    Keeper(#[source] io::Error),
}

/// Arms the trial deadline of this boot, if there is to be one.
///
/// # Errors
/// When that can't be decided or done. What was armed before is left as it was then.
pub fn arm(host: &Host) -> Result<Armed, ArmError> {
    let before = control::armed(host)?.filter(|state| state.left.is_some());
    let (reading, up) = (host.clone(), host.clone());
    let facts = bounded(PATIENCE, move || Facts::read(&reading))??;
    let up = up.up().map_err(ArmError::Keeper)?;
    let decision = facts.map_or(ArmDecision::Nothing(NotArmed::Off), |facts| decide(&facts, up));
    match (decision, before) {
        (ArmDecision::Arm(plan), None) => start_keeper(host, plan).map(Armed::Now).map_err(ArmError::Keeper),
        (ArmDecision::Nothing(reason), Some(_)) if reason.disarms() => {
            control::disarm(host)?;
            Ok(Armed::NoLonger(reason))
        }
        (_, Some(before)) => Ok(Armed::Before(before)),
        (ArmDecision::Nothing(reason), None) => Ok(Armed::Not(reason)),
    }
}

/// Starts the keeper, and waits until it has armed everything.
fn start_keeper(host: &Host, plan: Plan) -> io::Result<ArmedDeadline> {
    let orders = Orders {
        root: host.path("/"),
        after: plan.after,
        watchdog: plan.watchdog,
    };
    let mut keeper = Command::new(OURSELVES)
        .arg0(KEEPER)
        .arg(serde_json::to_string(&orders)?)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = keeper
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("it has no output"))?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(|_| io::Error::other(format!("it says {:?}", line.trim_end())))
}
