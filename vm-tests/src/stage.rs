//! Stage of a story: its loader, server, releases and output.

mod requests;

use std::fmt::Display;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Runtime;
use update_engine::serve::{Catalog, Server};

use crate::architecture::Architecture;
use crate::disk::{Disk, Slot, Standing, gpt};
use crate::guest::{Conduct, Misfit, Recipe, Release, Workshop};
use crate::loader::Loader;
use crate::machine::{Hardware, Machine};
use crate::merged::{expect_merged, expect_not_merged};

/// A guest's first words, with its slot.
const KERNEL_RUNS: &str = "guest: initrd of ";
/// Prints in how many seconds the daemon checks; at most a minute more than the shortest time.
const NEAR_CHECK: &str = r#"for try in $(seq 100); do
    systemctl reset-failed update-engine
    systemctl restart update-engine
    for look in $(seq 100); do
        wait=$(journalctl -b -o cat _PID="$(systemctl show -P MainPID update-engine)" |
            sed -n 's/.*next check in \([0-9]*\) s.*/\1/p')
        [ -z "$wait" ] || break
        sleep 0.2
    done
    [ "$wait" -gt 180 ] || { echo "$wait"; exit 0; }
done
exit 1"#;
/// Ends once the daemon has checked, and drawn the time of the next check.
const AFTER_CHECK: &str = r#"pid=$(systemctl show -P MainPID update-engine)
for look in $(seq 600); do
    [ "$(journalctl -b -o cat _PID="$pid" | grep -c 'next check in')" -lt 2 ] || exit 0
    sleep 1
done
exit 1"#;

/// Stage of one story.
pub(crate) struct Stage<'a> {
    name: &'static str,
    workshop: &'a Workshop,
    directory: PathBuf,
    loader: &'a dyn Loader,
    hardware: Hardware,
    control: bool,
    tries_come_back: bool,
    /// Lines of a node's configuration beside its server.
    settings: String,
    server: Server,
    /// Runtime of the server; must end after it.
    _runtime: Runtime,
    boots: u32,
    rounds: u32,
    begun: Instant,
}

impl<'a> Stage<'a> {
    /// An empty stage in `directory`. In a control run the story has something switched off.
    pub(crate) fn set(
        name: &'static str,
        control: bool,
        directory: PathBuf,
        workshop: &'a Workshop,
        loader: &'a dyn Loader,
    ) -> Result<Self> {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let server = runtime.block_on(Server::start(([127, 0, 0, 1], 0).into(), None))?;
        Ok(Self {
            name,
            workshop,
            directory,
            loader,
            hardware: Hardware::new(workshop.architecture, control),
            control,
            tries_come_back: false,
            settings: String::new(),
            _runtime: runtime,
            server,
            boots: 0,
            rounds: 1,
            begun: Instant::now(),
        })
    }

    /// Whether this is a control run: what the story proves is to be off, and the story to fail.
    pub(crate) fn is_control(&self) -> bool {
        self.control
    }

    /// How often what follows on an update is played, at least once.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Has it played so often.
    pub(crate) fn set_rounds(&mut self, rounds: u32) {
        self.rounds = rounds.max(1);
    }

    /// Takes the watchdog out of the machine.
    pub(crate) fn remove_watchdog(&mut self) {
        self.say("the machine has no watchdog");
        self.hardware.watchdog = false;
    }

    /// Lets time pass from the next boot on as the guest's processor works, or as the host's does.
    pub(crate) fn set_own_clock(&mut self, own: bool) {
        self.hardware.own_clock = own;
    }

    /// Leaves the machine with its chipset's watchdog alone, for the loader to arm.
    ///
    /// # Errors
    /// If the machine or the loader has none.
    pub(crate) fn watch_by_chipset(&mut self) -> Result<()> {
        ensure!(
            self.hardware.architecture == Architecture::Amd64 && self.loader.arms_watchdogs(),
            "only on x86-64 a watchdog is armed before the kernel, and only by the real loader"
        );
        self.remove_watchdog();
        self.hardware.chipset_watchdog = true;
        Ok(())
    }

    /// Restores a spent try at each boot from now on.
    pub(crate) fn give_tries_back(&mut self) {
        self.say("control: no try stays spent");
        self.tries_come_back = true;
    }

    /// Gives nodes these lines in their configuration from the next time that they are pointed to the server.
    pub(crate) fn set_settings(&mut self, lines: String) {
        self.settings = lines;
    }

    /// Boots by `loader` instead of the one chosen on the command line.
    pub(crate) fn boot_by(&mut self, loader: &'a dyn Loader) {
        self.loader = loader;
    }

    /// The processor of its machines.
    pub(crate) fn architecture(&self) -> Architecture {
        self.hardware.architecture
    }

    /// Logs and disks of this story.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Prints the progress of the story.
    pub(crate) fn say(&self, what: impl Display) {
        println!(
            "{:>16} {:>4} s  {what}",
            self.name,
            self.begun.elapsed().as_secs()
        );
    }

    /// Makes a release.
    pub(crate) fn release(&self, version: &str, conduct: Conduct) -> Result<Release> {
        self.make(&Recipe::new(version, conduct))
    }

    /// Makes a release by a recipe.
    pub(crate) fn make(&self, recipe: &Recipe<'_>) -> Result<Release> {
        self.workshop.release(&self.directory, recipe)
    }

    /// Makes a release that is not to be booted.
    pub(crate) fn unbooted(&self, version: &str, misfit: Misfit) -> Result<Release> {
        self.workshop.unbooted(&self.directory, version, misfit)
    }

    /// Makes a node's disk with `release` in slot A.
    pub(crate) fn install(&self, release: &Release) -> Result<Disk> {
        self.say(format_args!(
            "a node with release {} in {}",
            release.version,
            Slot::A
        ));
        let disk = Disk::install(self.directory.join("disk.img"), self.workshop, release)?;
        self.loader
            .install(&disk, &self.directory, self.workshop.architecture)?;
        Ok(disk)
    }

    /// Offers a release to every node that asks.
    pub(crate) fn offer(&self, release: &Release) -> Result<()> {
        self.workshop.payload(release)?;
        self.say(format_args!("the server offers {}", release.version));
        let catalog = Catalog::open(&release.version, &release.payload)?;
        self.server.replace(Some(catalog));
        Ok(())
    }

    /// Offers a release with its content payload as a further package.
    pub(crate) fn offer_content(&self, release: &Release) -> Result<()> {
        self.workshop.payload(release)?;
        let content = self.workshop.content_payload(release)?;
        self.say(format_args!(
            "the server offers {} and its content",
            release.version
        ));
        let catalog = Catalog::open(&release.version, &release.payload)?;
        let catalog = catalog.with_package("update.content".parse()?, &content)?;
        self.server.replace(Some(catalog));
        Ok(())
    }

    /// Offers a release, and sends it at `pace` bytes per second.
    pub(crate) fn offer_slowly(&self, release: &Release, pace: NonZeroU64) -> Result<()> {
        self.workshop.payload(release)?;
        self.say(format_args!(
            "the server offers {} at {pace} bytes per second",
            release.version
        ));
        let catalog = Catalog::open(&release.version, &release.payload)?;
        self.server.replace(Some(catalog.with_pace(pace)));
        Ok(())
    }

    /// Waits until the node asks for an update by itself, and for the outcome.
    ///
    /// A daemon draws the time of its first check, 2 to 12 minutes after its start; it is started
    /// anew until it draws a time that is near.
    pub(crate) fn wait_for_the_timer(&self, machine: &mut Machine) -> Result<()> {
        self.configure(machine)?;
        let seconds = machine.sh(NEAR_CHECK)?;
        self.say(format_args!("the node will ask in {} s", seconds.trim()));
        machine.sh(AFTER_CHECK)?;
        Ok(())
    }

    /// Switches the machine on and waits until a kernel runs.
    pub(crate) fn boot(&mut self, disk: &Disk) -> Result<Machine> {
        if self.tries_come_back {
            for slot in [Slot::A, Slot::B] {
                if disk.standing(slot)? == Standing::TRIED {
                    gpt::set_standing(disk.path(), slot, Standing::WAITING)?;
                }
            }
        }
        let start = self
            .loader
            .start(disk, &self.directory, self.workshop.architecture)?;
        self.boots += 1;
        let log = self.directory.join(format!("boot-{}.log", self.boots));
        let machine = Machine::start(&start, disk, &self.hardware, &log)?;
        let line = machine.console().wait_for(KERNEL_RUNS)?;
        let slot = [Slot::A, Slot::B]
            .into_iter()
            .find(|slot| line.contains(slot.identity()));
        let slot = slot.with_context(|| format!("a kernel without a slot: {line}"))?;
        self.say(format_args!("boot {}: the loader takes {slot}", self.boots));
        Ok(machine)
    }

    /// Checks the attributes of a slot from outside.
    pub(crate) fn expect(&self, disk: &Disk, slot: Slot, expected: Standing) -> Result<()> {
        let standing = disk.standing(slot)?;
        ensure!(standing == expected, "{slot}: {standing}, not {expected}");
        self.say(format_args!("cgpt: {slot}: {standing}"));
        Ok(())
    }

    /// Points the node in `machine` to this story's server and lets it update; returns once a
    /// reboot is due.
    pub(crate) fn update(&self, machine: &mut Machine) -> Result<()> {
        self.configure(machine)?;
        self.say("the node updates");
        machine.sh("update_engine_client -update")?;
        let status = machine.sh("update_engine_client -status 2>/dev/null")?;
        if !status.contains("CURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT") {
            let said = machine.sh("journalctl -b -u update-engine -o cat -p warning -n 10")?;
            bail!("the update failed:\n{status}\n{said}");
        }
        Ok(())
    }

    /// Points the node in `machine` to this story's server.
    pub(crate) fn configure(&self, machine: &mut Machine) -> Result<()> {
        let port = self.server.address().port();
        let settings = format!("SERVER=http://10.0.2.2:{port}/v1/update/\n{}", self.settings);
        machine.sh(&format!(
            "mkdir -p /etc/flatcar && echo '{settings}' >/etc/flatcar/update.conf && sync"
        ))?;
        Ok(())
    }
}

/// Checks which slot and release run in `machine`, with which extensions.
pub(crate) fn expect_running(machine: &mut Machine, slot: Slot, release: &Release) -> Result<()> {
    let line = machine.console().wait_for(KERNEL_RUNS)?;
    ensure!(line.contains(slot.identity()), "not {slot} runs: {line}");
    let line = machine.sh("cat /proc/cmdline")?;
    ensure!(line.contains(slot.identity()), "not {slot} runs: {line}");
    let identity = machine.sh("cat /usr/share/flatcar/release")?;
    let expected = format!("FLATCAR_RELEASE_VERSION={}\n", release.version);
    ensure!(
        identity.starts_with(&expected),
        "not {} runs: {identity}",
        release.version
    );
    if release.extended {
        expect_merged(machine, release.debian)
    } else {
        expect_not_merged(machine)
    }
}
