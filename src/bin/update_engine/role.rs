//! Roles of the program beside the daemon, by the name under which it is called.
//!
//! | name | does |
//! |---|---|
//! | `postinst`, `flatcar-postinst` | an image's part in its own installation: `postinst DEVICE KERNEL=FILE` |
//! | `flatcar-setgoodroot` | marks the running slot good |
//! | `update-engine-trial-deadline` | arms what ends a hang of a slot on trial: see [`update_engine::trial_deadline`] |
//! | `@update-engine-trial-deadline` | the process that it leaves behind |
//! | `update_engine_stub` | tells the server about a system that runs from memory |
//! | `update-engine-look-at-image` | mounts a slot and says what its image is; the daemon's own helper, likewise |
//! | `update-engine-activate` | makes a staged update the next to boot, if the machine reboots |
//! | `update-engine-run-postinst`, `…-confined` | mounts a slot and becomes its postinst; the daemon's own helper, see [`update_engine::install`] |
//!
//! One program, so that an image carries its code once.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use update_engine::config::{Config, ServerSetting};
use update_engine::disk::SlotDisk;
use update_engine::engine::{ActivationError, activate_at_reboot};
use update_engine::flags::{self, CommandLine, Flag, FlagRequest};
use update_engine::host::Host;
use update_engine::host::mount::{MountError, Mounted, show_in_place};
use update_engine::host::subprocess::{NO_PROXY_VARIABLES, PROXY_VARIABLES, passed_on};
use update_engine::install::{self, ImageFacts};
use update_engine::journal::{AttemptFields, JournalLayer, chain, start_logging};
use update_engine::omaha::{Client, MachineIdentity, Retries, announcement};
use update_engine::postinst::Postinst;
use update_engine::printable;
use update_engine::systemd::Systemd;
use update_engine::trial_deadline;

use super::command_line::{DISK, ROLE, ROOT, RUNNING_SLOT};
use super::deadline;

/// Flags of the program that activates a staged update.
const ACTIVATE: &[Flag] = &[ROOT, DISK, RUNNING_SLOT];

/// Role of the program, if not the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Postinst,
    SetGoodRoot,
    TrialDeadline,
    Keeper,
    Stub,
    Looker,
    Activate,
    Runner,
    ConfinedRunner,
}

impl Role {
    /// The role of a program called `name`.
    pub(crate) fn called(name: &Path) -> Option<Self> {
        match name.file_name()?.to_str()? {
            "postinst" | "flatcar-postinst" => Some(Self::Postinst),
            "flatcar-setgoodroot" => Some(Self::SetGoodRoot),
            trial_deadline::PROGRAM => Some(Self::TrialDeadline),
            trial_deadline::KEEPER => Some(Self::Keeper),
            "update_engine_stub" => Some(Self::Stub),
            install::LOOKER => Some(Self::Looker),
            "update-engine-activate" => Some(Self::Activate),
            install::RUNNER => Some(Self::Runner),
            install::CONFINED_RUNNER => Some(Self::ConfinedRunner),
            _ => None,
        }
    }

    /// Runs the role; `name` is the path under which the program was called.
    pub(crate) fn play(self, name: &Path, arguments: impl Iterator<Item = OsString>) -> ExitCode {
        match self {
            Self::Looker => look_at_image(arguments),
            Self::Runner => run_postinst(arguments, &[]),
            Self::ConfinedRunner => run_confined(arguments),
            Self::Activate => activate(arguments),
            Self::Keeper => deadline::keep(arguments),
            Self::TrialDeadline => on_host(arguments, |host, line| deadline::arm_or_disarm(&host, line)),
            Self::Postinst => on_host(arguments, |host, line| postinst(name, host, line)),
            Self::SetGoodRoot => on_host(arguments, |host, _| set_good_root(&host)),
            Self::Stub => on_host(arguments, |host, _| finish(blocking(announce(&host)))),
        }
    }
}

fn on_host(
    arguments: impl Iterator<Item = OsString>,
    play: impl FnOnce(Host, &CommandLine) -> ExitCode,
) -> ExitCode {
    // Not to be locked out of what we make: the engines' own umasks are strict.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let line = match flags::parse(ROLE, arguments) {
        Ok(FlagRequest::Run(line)) => line,
        Ok(FlagRequest::Help | FlagRequest::Version) => CommandLine::default(),
        Err(errors) => return refuse(&errors),
    };
    play(Host::new(line.text("root").unwrap_or("/")), &line)
}

/// Mounts a slot, says what its image is, and unmounts it.
fn look_at_image(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let device = PathBuf::from(arguments.next().unwrap_or_default());
    let paths: Vec<_> = arguments.map(PathBuf::from).collect();
    let facts = ImageFacts::of_slot(&Host::new("/"), &device, &paths);
    match facts.map(|facts| serde_json::to_string(&facts)) {
        Ok(Ok(facts)) => {
            println!("{facts}");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => refuse(&error),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(install::NO_SCRIPT)
        }
    }
}

/// Makes a staged update the next to boot. Run when the unit of that name is stopped, which any
/// shutdown does and an administrator may: only an orderly reboot activates.
fn activate(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let line = match flags::parse(ACTIVATE, arguments) {
        Ok(FlagRequest::Run(line)) => line,
        Ok(FlagRequest::Help | FlagRequest::Version) => CommandLine::default(),
        Err(errors) => return refuse(&errors),
    };
    let settings = match super::settings(&line) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    start_logging(JournalLayer::of(&settings.host, AttemptFields::default()));
    // Where a directory stands for the machine, no systemd knows what becomes of that.
    if settings.host.is_real() {
        match blocking(Systemd.is_rebooting()) {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::info!("no orderly reboot: what is staged is not activated");
                return ExitCode::SUCCESS;
            }
            Ok(Err(error)) => return refuse(&error),
            Err(error) => return refuse(&error),
        }
    }
    match activate_at_reboot(settings) {
        Ok(()) | Err(ActivationError::NothingStaged) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the old version boots: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// The same as [`run_postinst`], if this process can write to no disk: the partition table is to
/// be out of the script's reach, which sees other nodes in place of the slot's and its disk's.
fn run_confined(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut shown = Vec::new();
    while let Some(node) = arguments.next().filter(|node| node != install::END_OF_SHOWN) {
        shown.push((
            PathBuf::from(node),
            PathBuf::from(arguments.next().unwrap_or_default()),
        ));
    }
    let mut arguments = arguments.peekable();
    let device = arguments.peek().map(PathBuf::from).unwrap_or_default();
    let places = shown.iter().map(|(_, place)| place);
    if !places.chain([&device]).all(|place| is_out_of_reach(place)) {
        eprintln!(
            "the partition table is in postinst's reach: this system does not keep units from devices (DevicePolicy=)"
        );
        return ExitCode::from(install::NO_SCRIPT);
    }
    run_postinst(arguments, &shown)
}

/// Whether the control group refuses to have the device opened for writing; it does so before the
/// device's read-only flag, and by another error.
fn is_out_of_reach(device: &Path) -> bool {
    let opened = File::options().write(true).open(device);
    opened.is_err_and(|error| error.raw_os_error() == Some(nix::errno::Errno::EPERM as i32))
}

/// Mounts a slot and becomes its postinst, which sees `shown`; returns only if that failed. The mount
/// stays, in the namespace of the unit that we are.
fn run_postinst(mut arguments: impl Iterator<Item = OsString>, shown: &[(PathBuf, PathBuf)]) -> ExitCode {
    let device = PathBuf::from(arguments.next().unwrap_or_default());
    let directory = match Mounted::new(&device) {
        Ok(mounted) => mounted.keep(),
        // The kernel won't mount one file system twice: the new image is the running one, script
        // included.
        Err(MountError::AlreadyMounted { .. }) => PathBuf::from("/usr"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(install::NO_SCRIPT);
        }
    };
    // After the mount, which is of the slot itself.
    if !shown.is_empty()
        && let Err(error) = show_in_place(shown)
    {
        eprintln!("cannot show postinst a dummy disk: {error}");
        return ExitCode::from(install::NO_SCRIPT);
    }
    let script = directory.join("postinst");
    let error = Command::new(&script)
        .arg(device)
        .args(arguments)
        .env_clear()
        .envs(passed_on())
        .exec();
    eprintln!("cannot run {}: {error}", script.display());
    ExitCode::from(install::NO_SCRIPT)
}

pub(super) fn refuse(error: &dyn Error) -> ExitCode {
    eprintln!("{}", printable(&chain(error)));
    ExitCode::FAILURE
}

fn finish(result: Result<Result<(), Box<dyn Error>>, std::io::Error>) -> ExitCode {
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => refuse(&*error),
        Err(error) => refuse(&error),
    }
}

fn blocking<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

fn set_good_root(host: &Host) -> ExitCode {
    trial_deadline::disarm_or_warn(host);
    match SlotDisk::discover(host).and_then(|disk| disk.mark_good()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

fn postinst(name: &Path, host: Host, line: &CommandLine) -> ExitCode {
    let Some(device) = line.arguments.first() else {
        eprintln!("usage: postinst DEVICE [KERNEL=FILE] [PCR_POLICY=FILE]");
        return ExitCode::FAILURE;
    };
    if host.is_real()
        && let Some(error) = take_up_proxies(name)
    {
        return refuse(&error);
    }
    let postinst = Postinst {
        image: image_of(name),
        device: device.into(),
        host,
    };
    match blocking(postinst.run()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(refusal)) => {
            eprintln!("{}", printable(&chain(&refusal)));
            ExitCode::from(refusal.exit_code())
        }
        Err(error) => refuse(&error),
    }
}

/// Root of the image that the program lies in: `IMAGE/postinst`, or a link to
/// `IMAGE/bin/flatcar-postinst`.
fn image_of(name: &Path) -> PathBuf {
    let directory = name.parent().unwrap_or(Path::new("/usr"));
    match directory.file_name() {
        Some(bin) if bin == "bin" || bin == "sbin" => directory.parent().unwrap_or(directory).into(),
        _ => directory.into(),
    }
}

/// Restarts the program with the proxies that the operator gave the daemon's unit, if the engine
/// passed none on. Returns only if there are none or the restart failed.
fn take_up_proxies(name: &Path) -> Option<std::io::Error> {
    if PROXY_VARIABLES
        .iter()
        .any(|proxy| std::env::var_os(proxy).is_some())
    {
        return None;
    }
    let shown = Command::new("systemctl")
        .args([
            "show",
            "update-engine.service",
            "--property=Environment",
            "--value",
        ])
        .output()
        .ok()?;
    let proxies = proxies_in(&String::from_utf8_lossy(&shown.stdout));
    if proxies.is_empty() {
        return None;
    }
    let anew = Command::new("/proc/self/exe")
        .arg0(name)
        .args(std::env::args_os().skip(1))
        .envs(proxies)
        .exec();
    Some(anew)
}

/// Proxies and their exceptions in a unit's environment, as `systemctl show` prints it. Nothing if
/// there is no proxy among them: with exceptions alone the next start would ask again, for ever.
fn proxies_in(environment: &str) -> Vec<(String, String)> {
    let settings: Vec<_> = unit_words(environment)
        .into_iter()
        .filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            let wanted = PROXY_VARIABLES.contains(&key) || NO_PROXY_VARIABLES.contains(&key);
            (wanted && !value.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect();
    if settings
        .iter()
        .any(|(key, _)| PROXY_VARIABLES.contains(&key.as_str()))
    {
        settings
    } else {
        Vec::new()
    }
}

/// Words separated by white space; one that contains white space is in double quotes, in which a
/// backslash takes the next character as it is.
fn unit_words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

async fn announce(host: &Host) -> Result<(), Box<dyn Error>> {
    let config = Config::load(|path| host.read(path))?;
    let ServerSetting::At(url) = &config.server else {
        println!("SERVER=disabled: nobody is told");
        return Ok(());
    };
    let machine = host.identity()?;
    let machine = MachineIdentity {
        boot_id: machine.boot_id,
        machine_id: machine.machine_id,
        machine: machine.machine,
        aleph_version: String::new(),
    };
    let document = announcement(&config.identity(&machine));
    let answer = Client::from_env().post(url, document, Retries::None).await?;
    println!("{}", printable(&String::from_utf8_lossy(&answer.body)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(environment: &str) -> Vec<(String, String)> {
        proxies_in(environment)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn exceptions_without_a_proxy_are_no_reason_to_start_anew() {
        assert_eq!(proxies("NO_PROXY=localhost LANG=C\n"), []);
        assert_eq!(proxies("HTTP_PROXY= NO_PROXY=x\n"), []);
        assert_eq!(proxies("\n"), []);
    }

    #[test]
    fn a_value_with_blanks_comes_whole() {
        let environment =
            "LANG=C https_proxy=http://p:3128 \"NO_PROXY=a b c\" \"ALL_PROXY=socks5h://u:\\\"\\\\@p\"\n";
        assert_eq!(
            proxies(environment),
            [
                pair("https_proxy", "http://p:3128"),
                pair("NO_PROXY", "a b c"),
                pair("ALL_PROXY", "socks5h://u:\"\\@p"),
            ]
        );
    }
}
