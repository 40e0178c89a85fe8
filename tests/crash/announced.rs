//! What other programs are told for as long as a boot lasts. It matters when the daemon dies and
//! the machine does not: whoever is started after it goes by what it left.

use crate::machine::State;
use crate::oracle::Truth;
use crate::readers;
use crate::story::{CLAIM, MARKER, REQUEST, Story};

/// No daemon waits for a slot that doesn't boot next, and none leaves a request for a reboot that
/// nobody can withdraw any more.
pub(crate) fn check(truth: &Truth, state: &State) -> Result<(), String> {
    let is_there = |path| state.files.contains_key(path);
    let is_staged = matches!(truth.story, Some(Story::Staged | Story::Unstaged));
    if is_staged && (is_there(MARKER) || is_there(REQUEST)) {
        return Err("a reboot is asked for, and nothing is activated".to_owned());
    }
    if is_there(MARKER) {
        for &reader in &truth.able {
            let entries = readers::entries(&state.disk, truth.sector, reader).unwrap_or_default();
            if readers::chosen(&entries) != Some(4) {
                return Err(format!("slot B is waited for, and {reader:?} doesn't boot it"));
            }
        }
    }
    // One that is made anew is claimed right afterwards, which has to look at it first.
    let begins = truth.story.is_some_and(Story::begins_with_request);
    if begins && is_there(REQUEST) && !is_there(CLAIM) && !is_there(MARKER) {
        return Err("the request for a reboot can't be withdrawn any more".to_owned());
    }
    Ok(())
}
