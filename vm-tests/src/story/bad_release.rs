//! Common part of stories about releases that fail: installing one, and the node afterwards.

use anyhow::{Context as _, Result, ensure};

use crate::disk::{Disk, Slot, Standing};
use crate::guest::{Conduct, Recipe, Release};
use crate::machine::{End, Machine};
use crate::stage::{Stage, expect_running};

/// Prints what the status says of a rollback, once the daemon has looked around.
const WHY_BACK: &str = "systemctl start update-engine; for look in $(seq 100); do \
    said=$(busctl get-property com.coreos.update1 /org/updateengine/Engine1 org.updateengine.Engine1 Rollback); \
    [ \"$said\" = 'a{sv} 0' ] || break; sleep 0.2; done; echo \"$said\"";

/// Prints the last lines of what has failed, kept from the other slot's journal, for root.
const LAST_LINES: &str = "busctl get-property com.coreos.update1 /org/updateengine/Engine1/Diagnostics \
                          org.updateengine.Diagnostics1 RollbackOutput";

/// A node to which a bad release was offered.
pub(super) struct Victim {
    pub(super) disk: Disk,
    /// In slot A, good.
    first: Release,
    /// In slot B.
    pub(super) second: Release,
}

/// A hang, and how it is to end.
pub(super) struct HangCourse<'a> {
    /// Whether the release that hangs has a clock of its own.
    pub(super) own_clock: bool,
    /// What the console says before or in the hang.
    pub(super) last_words: &'a [&'a str],
    /// How the machine ends.
    pub(super) end: End,
    /// What the other slot says of it.
    pub(super) cause: &'a str,
}

impl Victim {
    /// Has a node install a release that fails, up to its end, which follows on its last words.
    pub(super) fn of(stage: &mut Stage, conduct: Conduct, last_words: &str, expected: End) -> Result<Self> {
        let (first, bad) = (Recipe::new("1.0.0", Conduct::Good), Recipe::new("2.0.0", conduct));
        Self::between(stage, &first, &bad, last_words, expected)
    }

    /// The same, with both releases by recipe; versions 1.0.0 and 2.0.0.
    pub(super) fn between(
        stage: &mut Stage,
        first: &Recipe<'_>,
        bad: &Recipe<'_>,
        last_words: &str,
        expected: End,
    ) -> Result<Self> {
        Self::prepared(stage, first, bad, |_| Ok(()), last_words, expected)
    }

    /// The same; `prepare` is done in the first release before it updates.
    pub(super) fn prepared(
        stage: &mut Stage,
        first: &Recipe<'_>,
        bad: &Recipe<'_>,
        prepare: impl FnOnce(&mut Machine) -> Result<()>,
        last_words: &str,
        expected: End,
    ) -> Result<Self> {
        let (victim, machine) = Self::boot(stage, first, bad, prepare)?;
        victim.ends(stage, machine, &[last_words], expected)?;
        Ok(victim)
    }

    /// Has a node install a release, and plays what follows as often as the stage has rounds, each time on the disk as
    /// the update has left it. Returns the node and what came of the last round.
    pub(super) fn rounds<T>(
        stage: &mut Stage,
        (first, second): (&Recipe<'_>, &Recipe<'_>),
        play: impl Fn(&mut Stage, &Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        let node = Self::installed(stage, first, second, |_| Ok(()))?;
        let updated = node.disk.copy(&stage.directory().join("updated.img"))?;
        for round in 1..stage.rounds() {
            drop(play(stage, &node).with_context(|| format!("in round {round}"))?);
            stage.say(format_args!("round {round} passed"));
            updated.copy(node.disk.path())?;
        }
        let last = play(stage, &node).with_context(|| format!("in round {}", stage.rounds()))?;
        Ok((node, last))
    }

    /// Boots the release that hangs, up to the end of that, and the node afterwards, as [`Self::is_back`] does.
    pub(super) fn hangs(&self, stage: &mut Stage, course: &HangCourse<'_>) -> Result<Machine> {
        stage.set_own_clock(course.own_clock);
        let machine = self.boot_bad(stage)?;
        stage.set_own_clock(false);
        self.ends(stage, machine, course.last_words, course.end)?;
        self.is_back(stage, course.cause)
    }

    /// The release fails, up to its end.
    fn ends(&self, stage: &Stage, machine: Machine, last_words: &[&str], expected: End) -> Result<()> {
        for words in last_words {
            machine.console().wait_for(words)?;
            stage.say(format_args!("the console says: {words}"));
        }
        let end = machine.end();
        let standing = self.disk.standing(Slot::B)?;
        let end = end.with_context(|| format!("after {last_words:?}, with {}: {standing}", Slot::B))?;
        ensure!(
            end == expected,
            "after {last_words:?} the machine ends in {end:?}"
        );
        stage.say(format_args!("the machine ends: {end:?}"));
        Ok(())
    }

    /// Returns with the machine that boots the release.
    pub(super) fn boot(
        stage: &mut Stage,
        first: &Recipe<'_>,
        bad: &Recipe<'_>,
        prepare: impl FnOnce(&mut Machine) -> Result<()>,
    ) -> Result<(Self, Machine)> {
        let victim = Self::installed(stage, first, bad, prepare)?;
        let machine = victim.boot_bad(stage)?;
        Ok((victim, machine))
    }

    /// Returns once the release is to boot next.
    fn installed(
        stage: &mut Stage,
        first: &Recipe<'_>,
        bad: &Recipe<'_>,
        prepare: impl FnOnce(&mut Machine) -> Result<()>,
    ) -> Result<Self> {
        let first = stage.make(first)?;
        let disk = stage.install(&first)?;
        let second = stage.make(bad)?;
        stage.offer(&second)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, Slot::A, &first)?;
        prepare(&mut machine)?;
        stage.update(&mut machine)?;
        machine.reboot()?;
        Ok(Self { disk, first, second })
    }

    fn boot_bad(&self, stage: &mut Stage) -> Result<Machine> {
        let machine = stage.boot(&self.disk)?;
        stage.expect(&self.disk, Slot::B, Standing::TRIED)?;
        Ok(machine)
    }

    /// Boots the node after the bad release has failed: slot A runs, and knows what it came back
    /// from.
    pub(super) fn is_back(&self, stage: &mut Stage, cause: &str) -> Result<Machine> {
        let mut machine = stage.boot(&self.disk)?;
        expect_running(&mut machine, Slot::A, &self.first)?;
        stage.expect(&self.disk, Slot::A, Standing::GOOD)?;
        stage.expect(&self.disk, Slot::B, Standing::TRIED)?;
        let words = format!("rolled back from version \"2.0.0\": {cause}");
        machine.console().wait_for(&words)?;
        let status = machine.sh(WHY_BACK)?;
        ensure!(
            status.contains("\"2.0.0\"") && status.contains(cause),
            "the status is silent about the rollback:\n{status}"
        );
        stage.say(format_args!("status: {words}"));
        Ok(machine)
    }

    /// The status has the last lines of the unit that has failed, which has `said` this.
    pub(super) fn tells_last_lines(stage: &Stage, machine: &mut Machine, said: &str) -> Result<()> {
        let output = machine.sh(LAST_LINES)?;
        ensure!(
            output.contains(said),
            "the unit's last lines are not in the status:\n{output}"
        );
        stage.say("status: the unit's last lines");
        Ok(())
    }

    /// The node asks by itself, reports the rollback, and leaves the release alone.
    pub(super) fn blames(stage: &Stage, machine: &mut Machine) -> Result<()> {
        stage.wait_for_the_timer(machine)?;
        stage.expect_rollback_report()?;
        stage.expect_refusal(machine)
    }

    /// Offers a repaired release, which is installed and kept; the way there tells the server of
    /// the rollback.
    pub(super) fn recovers(&self, stage: &mut Stage, mut machine: Machine) -> Result<()> {
        let repaired = stage.release("2.0.1", Conduct::Good)?;
        stage.offer(&repaired)?;
        stage.update(&mut machine)?;
        stage.expect_rollback_report()?;
        machine.reboot()?;
        let mut machine = stage.boot(&self.disk)?;
        expect_running(&mut machine, Slot::B, &repaired)?;
        machine.console().wait_for("is marked good")?;
        stage.expect(&self.disk, Slot::B, Standing::KEPT)
    }
}
