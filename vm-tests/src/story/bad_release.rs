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

/// A node to which a bad release was offered.
pub(super) struct Victim {
    pub(super) disk: Disk,
    /// In slot A, good.
    first: Release,
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
        victim.ends(stage, machine, last_words, expected)
    }

    /// The same; the release that fails is booted with a clock of its own if so asked.
    pub(super) fn with_clock(
        stage: &mut Stage,
        (first, bad): (&Recipe<'_>, &Recipe<'_>),
        own_clock: bool,
        last_words: &str,
        expected: End,
    ) -> Result<Self> {
        let victim = Self::installed(stage, first, bad, |_| Ok(()))?;
        stage.set_own_clock(own_clock);
        let machine = victim.boot_bad(stage)?;
        stage.set_own_clock(false);
        victim.ends(stage, machine, last_words, expected)
    }

    /// The release fails, up to its end.
    fn ends(self, stage: &Stage, machine: Machine, last_words: &str, expected: End) -> Result<Self> {
        machine.console().wait_for(last_words)?;
        stage.say(format_args!("the console says: {last_words}"));
        let end = machine.end();
        let standing = self.disk.standing(Slot::B)?;
        let end = end.with_context(|| format!("after {last_words:?}, with {}: {standing}", Slot::B))?;
        ensure!(
            end == expected,
            "after {last_words:?} the machine ends in {end:?}"
        );
        stage.say(format_args!("the machine ends: {end:?}"));
        Ok(self)
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
        let bad = stage.make(bad)?;
        stage.offer(&bad)?;
        let mut machine = stage.boot(&disk)?;
        expect_running(&mut machine, Slot::A, &first)?;
        prepare(&mut machine)?;
        stage.update(&mut machine)?;
        machine.reboot()?;
        Ok(Self { disk, first })
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
