//! Two versions of the daemon, one in each slot, and one state directory.

use anyhow::Result;

use super::bad_release::Victim;
use super::{Control, Story};
use crate::guest::{Conduct, Daemon, Recipe};
use crate::machine::End;
use crate::stage::Stage;

pub(super) const STORY: Story = Story {
    name: "two-versions",
    shows: "today's daemon in B gives itself up, an earlier one in A reports and blames; and the other way round",
    play,
    usual: false,
    control: Control {
        off: "the state directory is shared: B keeps its records for itself",
        fails: "without saying \"rolled back from version",
    },
};

fn play(stage: &mut Stage) -> Result<()> {
    for (daemon_of_a, daemon_of_b) in [
        (Daemon::Earlier, Daemon::Todays),
        (Daemon::Todays, Daemon::Earlier),
    ] {
        stage.say(format_args!("A has {daemon_of_a:?}, B has {daemon_of_b:?}"));
        let first = recipe("1.0.0", Conduct::Good, daemon_of_a);
        let conduct = if stage.is_control() {
            Conduct::Forgetful
        } else {
            Conduct::Unhealthy
        };
        let bad = recipe("2.0.0", conduct, daemon_of_b);
        let said = "the application misses its data";
        let node = Victim::between(stage, &first, &bad, said, End::Reset)?;
        let mut machine = node.is_back(stage, "unit vm-app.service is ")?;
        Victim::blames(stage, &mut machine)?;
    }
    Ok(())
}

/// The earlier daemon can't find the slot below an extension: nodes that have any must not have it.
fn recipe(version: &str, conduct: Conduct, daemon: Daemon) -> Recipe<'_> {
    Recipe {
        daemon,
        extended: daemon == Daemon::Todays,
        ..Recipe::new(version, conduct)
    }
}
