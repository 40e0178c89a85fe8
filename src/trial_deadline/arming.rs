//! The program that arms the deadline: in the initrd, when the system's units start, or run by hand.
//! An armed deadline stays as it is, unless a different one or none would be armed now.

use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::armed_deadline::ArmedDeadline;
use super::control::{self, DeadlineControlError};
use super::decision::{ArmDecision, NotArmed, Plan, decide};
use super::facts::{Facts, FactsError};
use super::keeper::Orders;
use super::process::bounded;
use super::{KEEPER, PROGRAM, left_running};
use crate::host::Host;
use crate::journal::chain;

/// How long disk and systemd are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for a caller that only asks.
const ASKING: Duration = Duration::from_secs(12);
/// The program that is running, wherever its file was.
const OURSELVES: &str = "/proc/self/exe";
/// Two deadlines that differ by no more are the same one, told at different times.
const SAME: u64 = 5;

/// What came of an arming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Armed {
    /// The deadline is armed.
    Now(ArmedDeadline),
    /// It was before, and is left as it was.
    Before(ArmedDeadline),
    /// It was before, and is kept as it is set now.
    Anew(ArmedDeadline),
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
            Self::Anew(state) => write!(f, "trial deadline, set anew: {state}"),
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

/// Arms the trial deadline of this boot, if there is to be one. A watchdog that a killed keeper has left
/// running is stopped first, or fed.
///
/// # Errors
/// When that can't be decided or done. What was armed before is left as it was then.
pub fn arm(host: &Host) -> Result<Armed, ArmError> {
    let before = match control::armed(host)? {
        Some(state) if state.keeper_was_killed => take_over(host, &state).map_err(ArmError::Keeper)?,
        state => state,
    };
    // What is found out next takes seconds on a slow disk, and what is armed runs on meanwhile.
    let asked = Instant::now();
    let (reading, up) = (host.clone(), host.clone());
    let facts = bounded(PATIENCE, move || Facts::read(&reading))??;
    let up = up.up().map_err(ArmError::Keeper)?;
    let decision = facts.map_or(ArmDecision::Nothing(NotArmed::Off), |facts| decide(&facts, up));
    let armed = match (decision, before) {
        (ArmDecision::Arm(plan), None) => Armed::Now(start_anew(host, plan)?),
        (ArmDecision::Arm(plan), Some(before)) if is_kept(&before, asked.elapsed(), &plan) => {
            Armed::Before(before)
        }
        (ArmDecision::Arm(plan), Some(_)) => match control::keep_another(host, plan.clone())? {
            Some(state) => Armed::Anew(state),
            None => Armed::Now(start_anew(host, plan)?),
        },
        (ArmDecision::Nothing(reason), Some(before)) if before.left.is_some() && reason.disarms() => {
            control::disarm(host)?;
            Armed::NoLonger(reason)
        }
        (ArmDecision::Nothing(_), Some(before)) if before.left.is_some() => Armed::Before(before),
        (ArmDecision::Nothing(reason), _) => Armed::Not(reason),
    };
    // What an initrd has armed is noted here first.
    if let Armed::Before(state) | Armed::Anew(state) = &armed {
        left_running::note(host, state);
    }
    Ok(armed)
}

/// Why nobody would end a hang of this boot, in a sentence, where nothing is armed: see
/// [`armed`](super::armed). None where nothing is to be: no deadline is set, or the running slot is
/// marked good.
#[must_use]
pub fn why_not_armed(host: &Host) -> Option<String> {
    let nobody = |why: &str| Some(format!("none, and nobody would end a hang: {why}"));
    let reading = host.clone();
    let facts = match bounded(ASKING, move || Facts::read_without_mounting(&reading)) {
        Ok(Ok(facts)) => facts?,
        Ok(Err(error)) | Err(error) => return nobody(&format!("why is not known: {}", chain(&error))),
    };
    match decide(&facts, host.up().unwrap_or_default()) {
        ArmDecision::Nothing(NotArmed::Off | NotArmed::MarkedGood(_)) => None,
        ArmDecision::Nothing(reason) => nobody(&reason.to_string()),
        // Nothing starts the unit, or the deadline was disarmed: by hand, or since the trial is held.
        ArmDecision::Arm(_) => nobody(&format!(
            "it was not armed, or was disarmed, as the journal says; {PROGRAM} arms it"
        )),
    }
}

/// Whether what was armed, so long ago as `since`, is what would be: the same deadline, and a watchdog behind it if there
/// is one to be had.
fn is_kept(armed: &ArmedDeadline, since: Duration, plan: &Plan) -> bool {
    let is_same = |left: u64| {
        let left = left.saturating_sub(since.as_secs());
        left.abs_diff(plan.after.as_secs()) <= SAME
    };
    armed.left.is_some_and(is_same) && (armed.watchdog.is_some() || plan.watchdog.is_err())
}

/// Stops the watchdog of a keeper that was killed. Gives the state of a new one which feeds it, if it
/// can't be stopped.
fn take_over(host: &Host, state: &ArmedDeadline) -> io::Result<Option<ArmedDeadline>> {
    let Err(why) = left_running::stop(host, state) else {
        return Ok(None);
    };
    let node = state.watchdog.clone().unwrap_or_default().into();
    tracing::warn!("{state}; {}", chain(&why));
    start_keeper(&Orders {
        root: host.path("/"),
        after: None,
        watchdog: Ok(node),
    })
    .map(Some)
}

fn start_anew(host: &Host, plan: Plan) -> Result<ArmedDeadline, ArmError> {
    let orders = Orders {
        root: host.path("/"),
        after: Some(plan.after),
        watchdog: plan.watchdog,
    };
    start_keeper(&orders).map_err(ArmError::Keeper)
}

/// Starts the keeper, and waits until it has armed everything.
fn start_keeper(orders: &Orders) -> io::Result<ArmedDeadline> {
    let mut keeper = Command::new(OURSELVES)
        .arg0(KEEPER)
        .arg(serde_json::to_string(orders)?)
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
    let state: ArmedDeadline = serde_json::from_str(&line)
        .map_err(|_| io::Error::other(format!("it says {:?}", line.trim_end())))?;
    left_running::note(&Host::new(&orders.root), &state);
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a deadline that had 220 s left is kept, `seconds` later, by a system that would arm one in `after` seconds.
    fn is_kept_later(seconds: u64, after: u64) -> bool {
        let armed = ArmedDeadline {
            pid: 1,
            left: Some(220),
            watchdog: None,
            no_watchdog: String::new(),
            keeper_was_killed: false,
        };
        let plan = Plan {
            after: Duration::from_secs(after),
            watchdog: Err("there is none".to_owned()),
        };
        is_kept(&armed, Duration::from_secs(seconds), &plan)
    }

    #[test]
    fn a_deadline_is_the_same_however_long_the_look_around_takes() {
        for seconds in [0, 1, 6, 12, 29] {
            assert!(is_kept_later(seconds, 220 - seconds), "{seconds} s");
            assert!(!is_kept_later(seconds, 320 - seconds), "{seconds} s");
        }
    }
}
