//! Which pages there are, and what they say beyond their command lines.

use clap::{Command, CommandFactory as _};
use update_engine::client::{FLAGS, native};
use update_engine::config::{Place, SETTINGS};
use update_engine::reboot_lock::MANAGER_SETTINGS;
use update_engine::trial_deadline::PROGRAM;

use super::arguments::Cli;
use super::command_line::{DAEMON, ROLE};
use super::manager_command_line::MANAGER;
use super::page::{Page, dialect};

const DIALECT: &str = "Flags have one dash or two, - for _ within a name, and switches take =true or =false, \
                       or no before their name. The flags of glog, such as -logtostderr, are accepted and ignored.";
const CONFIGURATION: (&str, &str) = ("/etc/flatcar/update.conf", "Settings: update.conf(5).");
const STATE: (&str, &str) = (
    "/var/lib/update_engine",
    "What was downloaded, tried and rolled back.",
);
const KEY: (&str, &str) = (
    "/usr/share/update_engine/update-payload-key.pub.pem",
    "The public key that payloads must be signed with.",
);

/// Every page.
pub(crate) fn all() -> Vec<Page> {
    let mut pages = vec![
        daemon(),
        reboot_manager(),
        set_good_root(),
        postinst(),
        stub(),
        trial_deadline(),
        configuration(),
    ];
    pages.extend(of_subcommands(native::command()));
    pages.push(client());
    pages.extend(of_subcommands(Cli::command()));
    pages.push(payload());
    pages
}

fn built(command: Command) -> Command {
    // The manual has a page for each command; "help" is not one that needs any.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

fn of_subcommands(command: Command) -> Vec<Page> {
    let command = built(command);
    let see = format!("{}(1)", command.get_name());
    let page = |command| Page::of_command(command, "1").section("SEE ALSO", &[&see]);
    command.get_subcommands().map(page).collect()
}

fn client() -> Page {
    let flags = FLAGS
        .iter()
        .map(|flag| (format!("-{}", flag.name), flag.help.to_owned()));
    let exits = [
        (
            "0",
            "Done; of update: an update waits for the reboot; of check --dry-run: one would be installed, without a doubt.",
        ),
        ("1", "The engine refuses, with its sentence."),
        ("2", "Wrong arguments."),
        ("3", "The engine can't be reached."),
        ("4", "Not allowed."),
        (
            "5",
            "Of update and check --dry-run: nothing is offered, or no offer is known.",
        ),
        (
            "6",
            "Of update and check --dry-run: put off or refused, by policy, configuration or the server.",
        ),
        (
            "7",
            "Of update: failed; the command why says more. Of check --dry-run: would fail, or may.",
        ),
    ];
    Page::of_command(&built(native::command()), "1")
        .terms("FLAGS OF THE ORIGINAL", flags)
        .section(
            "DIALECT",
            &[
                "They take the place of a command, and end with 0 whatever became of the update.",
                DIALECT,
            ],
        )
        .terms("EXIT STATUS", owned(exits))
        .section(
            "SEE ALSO",
            &["update_engine(8), update.conf(5), update_payload(1)"],
        )
}

fn payload() -> Page {
    Page::of_command(&built(Cli::command()), "1").section("SEE ALSO", &["update_engine(8)"])
}

fn daemon() -> Page {
    Page::of_command(&built(dialect("update_engine", "A/B update daemon", DAEMON)), "8")
        .section(
            "NOTES",
            &[
                "Asks an Omaha server for updates, verifies a signed payload while it streams it into the inactive slot, \
                 and makes that slot boot next, once, until it is found healthy. Normally run as update-engine.service.",
                DIALECT,
            ],
        )
        .terms("FILES", owned([CONFIGURATION, KEY, STATE]))
        .section("SEE ALSO", &["update_engine_client(1), update.conf(5), flatcar-setgoodroot(8)"])
}

fn reboot_manager() -> Page {
    let about = "reboot nodes into their updates in turns";
    let settings = MANAGER_SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            "" => "Empty by default.".to_owned(),
            default => format!("Default: {default}."),
        };
        (
            setting.key.to_owned(),
            plain(&format!("{}. {default}", setting.meaning)),
        )
    });
    let files = [
        CONFIGURATION,
        (
            "/etc/update-engine/pre-reboot.d, /usr/lib/update-engine/pre-reboot.d",
            "Programs that run before a reboot, under the lock, and may veto it.",
        ),
        (
            "/etc/update-engine/post-good.d, /usr/lib/update-engine/post-good.d",
            "Programs that run once the slot is good, before the lock is given back.",
        ),
        (
            "/var/lib/update-reboot-manager/hold",
            "That this node may hold the lock.",
        ),
        (
            "/run/update-reboot-manager/status.json",
            "What the manager is at.",
        ),
    ];
    Page::of_command(&built(dialect("update_reboot_manager", about, MANAGER)), "8")
        .section(
            "NOTES",
            &["Waits until an update waits for its reboot, for the reboot window and for the reboot lock, reboots, and \
               gives the lock back when the update engine calls the new slot good. After a rollback the lock is kept. \
               Normally run as update-reboot-manager.service, which is off by default; refuses to run beside locksmithd.",
              DIALECT],
        )
        .terms("SETTINGS", settings)
        .terms("FILES", owned(files))
        .section("SEE ALSO", &["update_engine(8), update_engine_client-reboot-lock(1), update.conf(5)"])
}

fn set_good_root() -> Page {
    let about = "mark the running slot good";
    Page::of_command(&built(dialect("flatcar-setgoodroot", about, ROLE)), "8")
        .section(
            "NOTES",
            &["The slot that /usr is mounted from becomes successful, without tries, and the first to boot, whatever \
               its health. The daemon does the same by itself once the slot is found healthy."],
        )
        .section("SEE ALSO", &["update_engine(8), update_engine_client-mark-good(1)"])
}

fn postinst() -> Page {
    let about = "an image's part in its own installation";
    let command = dialect("flatcar-postinst", about, ROLE)
        .override_usage("IMAGE/postinst DEVICE [KERNEL=FILE] [PCR_POLICY=FILE]");
    Page::of_command(&built(command), "8")
        .section(
            "NOTES",
            &["Called by the update engine with the new image mounted: runs the OEM's hook, fetches the extensions \
               that belong to the new version, makes the slot of DEVICE boot next, once, and asks for a reboot."],
        )
        .section("SEE ALSO", &["update_engine(8)"])
}

fn stub() -> Page {
    let about = "report the version of a system that runs from memory";
    Page::of_command(&built(dialect("update_engine_stub", about, ROLE)), "8")
        .section(
            "NOTES",
            &["Tells the server which version runs, and asks for nothing. Run by update-engine-stub.timer where \
               /usr/.noupdate exists."],
        )
        .section("SEE ALSO", &["update_engine(8), update.conf(5)"])
}

fn trial_deadline() -> Page {
    let about = "end a hang of a slot on trial";
    let command = dialect(PROGRAM, about, ROLE).override_usage(format!("{PROGRAM} [disarm|status]"));
    Page::of_command(&built(command), "8")
        .section(
            "NOTES",
            &["Where TRIAL_DEADLINE is set and the running slot is on trial, leaves a process behind that resets the node at \
               the deadline unless the slot was marked good by then, and a watchdog behind that process. Armed only where \
               the other slot is good and has its kernel, and the update engine is to run in this boot. What is armed is \
               kept, or set anew if the settings are others by now. Prints what it does, or why nothing is armed.",
              "Run by update-engine-trial-deadline.service, which is off by default, and by initrds."],
        )
        .terms(
            "COMMANDS",
            owned([
                ("disarm", "Disarms the deadline, for this boot. Marking the slot good does the same first. For root."),
                ("status", "Prints when the node is reset, and by whom; where a deadline is set and nothing is armed on trial, why."),
            ]),
        )
        .section("EXIT STATUS", &["1 if nothing could be decided, armed or disarmed; what was armed before is left as it was."])
        .section("SEE ALSO", &["update_engine(8), flatcar-setgoodroot(8), update_engine_client-status(1), update.conf(5)"])
}

fn configuration() -> Page {
    let settings = SETTINGS.iter().filter(|setting| setting.place == Place::Update);
    let terms = settings.map(|setting| {
        let default = match setting.default {
            "" => "Empty by default.".to_owned(),
            default => format!("Default: {default}."),
        };
        let meaning = format!("{}: {}. {default}", setting.kind, setting.meaning);
        (setting.key.to_owned(), plain(&meaning))
    });
    Page::of_file("update.conf", "5", "settings of the update engine")
        .section("SYNOPSIS", &[&Place::Update.files().join(", ")])
        .section(
            "DESCRIPTION",
            &["Lines of the form KEY=value, read anew for each use. The first file that holds a key wins, even with an \
               empty value. Nothing is trimmed, # starts no comment, one pair of quotes around a value is taken off, and \
               the last line of a key counts. Keys that are not listed belong to others."],
        )
        .terms("SETTINGS", terms)
        .section(
            "EXTRA PARTITIONS",
            &["PARTITION_name=/dev/disk/by-partlabel/OEM-%s says where the partition that a payload calls by that name goes; \
               %s becomes A or B, the letter of the slot that is written."],
        )
        .section("SEE ALSO", &["update_engine(8), update_engine_client-config(1)"])
}

/// Without Markdown's quotes and links.
fn plain(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once(" ([") {
        text.push_str(before);
        rest = link.split_once("))").map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.replace('`', "")
}

fn owned<const N: usize>(terms: [(&str, &str); N]) -> Vec<(String, String)> {
    terms
        .into_iter()
        .map(|(term, meaning)| (term.to_owned(), meaning.to_owned()))
        .collect()
}
