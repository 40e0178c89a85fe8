//! Promise 1, a node always boots, proven: updates are recorded, cut after every single write and
//! every sync, and what the cuts leave is booted and updated. See `docs/crash-safety.md`.
//!
//! ```text
//!  the real installer ──strace──▶ trace ──▶ machine: live and durable state ──cut, loss──▶ state
//!                                                                                            │
//!      finished update ◀── the real installer, resuming ◀── GRUB's model boots ◀── oracle: every reader
//! ```
//!
//! `cargo test --test crash` for thousands of points, `cargo test --test crash -- --points 100000`
//! for more.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod announced;
mod cuts;
mod daemon;
mod device;
mod draft;
mod extensions;
mod faults;
mod grub;
mod image;
#[path = "../stories/support/immediate_checks.rs"]
mod immediate_checks;
#[path = "../stories/support/installing.rs"]
mod installing;
mod loader;
mod loss;
mod machine;
mod memory;
mod node;
mod oracle;
mod payload;
#[path = "../../boot/slots/tests/gpt/readers/mod.rs"]
mod readers;
mod scenario;
mod slot_b;
mod story;
mod superseding;
mod trace;
mod tree;
#[path = "../../payload-format/src/wire.rs"]
#[allow(
    dead_code,
    reason = "payloads here use what the product's own writer doesn't, and not all that it does"
)]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use node::{Attempt, fetcher};
use oracle::chain;
use scenario::{Before, Contents, Program, Scenario};
use story::Story;
use test_support::certificates::Authority;

/// Points that all scenarios have together, at least, unless told otherwise.
const POINTS: usize = 6000;

const fn scenario(name: &'static str, sector: usize, contents: Contents, before: Before) -> Scenario {
    Scenario {
        name,
        sector,
        contents,
        before,
        program: Program::Installer,
    }
}

const fn story(name: &'static str, sector: usize, story: Story) -> Scenario {
    Scenario {
        name,
        sector,
        ..Scenario::of(story)
    }
}

const SCENARIOS: [Scenario; 36] = [
    scenario("a_full_update_512", 512, Contents::Full, Before::Sound),
    scenario("a_full_update_4096", 4096, Contents::Full, Before::Sound),
    scenario("a_delta_512", 512, Contents::Delta, Before::Sound),
    scenario("a_delta_4096", 4096, Contents::Delta, Before::Sound),
    scenario("a_delta_without_kernel", 512, Contents::DeltaAlone, Before::Sound),
    scenario("a_full_update_resumed", 512, Contents::Full, Before::Cut),
    scenario("a_delta_resumed", 4096, Contents::Delta, Before::Cut),
    scenario("a_full_update_of_version_2", 512, Contents::FullV2, Before::Sound),
    scenario("a_delta_of_version_2_512", 512, Contents::DeltaV2, Before::Sound),
    scenario(
        "a_delta_of_version_2_4096",
        4096,
        Contents::DeltaV2,
        Before::Sound,
    ),
    scenario(
        "a_delta_of_version_2_resumed",
        512,
        Contents::DeltaV2,
        Before::Cut,
    ),
    scenario(
        "a_full_update_of_version_2_resumed",
        4096,
        Contents::FullV2,
        Before::Cut,
    ),
    scenario(
        "a_delta_of_our_generator",
        512,
        Contents::Generated,
        Before::Sound,
    ),
    scenario("a_content_payload_512", 512, Contents::Content, Before::Sound),
    scenario("a_content_payload_4096", 4096, Contents::Content, Before::Sound),
    scenario("a_content_payload_resumed", 512, Contents::Content, Before::Cut),
    scenario("a_partition_beside_512", 512, Contents::Partition, Before::Sound),
    scenario(
        "a_delta_of_a_partition_beside_4096",
        4096,
        Contents::PartitionDelta,
        Before::Sound,
    ),
    scenario(
        "a_partition_beside_resumed",
        512,
        Contents::Partition,
        Before::Cut,
    ),
    scenario(
        "a_partition_beside_that_was_torn_before",
        512,
        Contents::FullV2,
        Before::CutBeside,
    ),
    scenario(
        "extensions_beside_an_update",
        512,
        Contents::FullV2,
        Before::Extensions,
    ),
    scenario("a_damaged_backup_table", 512, Contents::Full, Before::NoBackup),
    scenario("a_damaged_primary_table", 4096, Contents::Full, Before::NoPrimary),
    scenario("a_running_slot_on_trial", 512, Contents::Full, Before::OnTrial),
    story("the_daemon_updates", 512, Story::Update),
    story("the_daemon_keeps_a_slot", 512, Story::Kept),
    story("the_daemon_leaves_a_slot", 4096, Story::GivenUp),
    story("the_daemon_notices_a_rollback", 512, Story::RolledBack),
    story("the_daemon_withdraws_an_update", 512, Story::Reset),
    story("the_daemon_withdraws_a_slot", 512, Story::Withdrawn),
    story("the_daemon_replaces_an_update", 4096, Story::Superseded),
    story("the_daemon_goes_back", 512, Story::WentBack),
    story("the_daemon_stages_an_update", 512, Story::Staged),
    story("a_staged_update_is_activated_by_order", 512, Story::Activated),
    story(
        "a_staged_update_is_activated_by_a_reboot",
        4096,
        Story::ActivatedByReboot,
    ),
    story("a_staged_update_is_withdrawn", 512, Story::Unstaged),
];

/// What the command line asks for.
struct Options {
    points: usize,
    filters: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let points = std::env::var("CRASH_POINTS").ok();
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let mut options = Self {
            points: number(points).unwrap_or(POINTS),
            filters: Vec::new(),
            exact: false,
            list: false,
            ignored: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--points" => options.points = number(arguments.next()).expect("--points takes a number"),
                "--exact" => options.exact = true,
                "--list" => options.list = true,
                "--ignored" => options.ignored = true,
                // The value of `--format`, which only a list has.
                "terse" => {}
                flag if flag.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| filter == name || !self.exact && name.contains(filter.as_str());
        self.filters.is_empty() || self.filters.iter().any(matches)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("attempt").is_some() {
        return attempt(&arguments.collect::<Vec<_>>());
    }
    if arguments.next_if_eq(superseding::CALL).is_some() {
        return superseding::run(&arguments.collect::<Vec<_>>());
    }
    let options = Options::parse(arguments);
    let tests = tests();
    if options.list {
        for (name, _) in tests.iter().filter(|_| !options.ignored) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(status) = with_one_authority() {
        return status;
    }
    run(&options, tests)
}

/// Each attempt reads the certificates of all authorities that the system trusts, and needs none: a
/// fifth of the time. Runs this program once more with one authority; nothing if that is already
/// so.
fn with_one_authority() -> Option<ExitCode> {
    const AUTHORITIES: &str = "SSL_CERT_FILE";
    if std::env::var_os(AUTHORITIES).is_some() {
        return None;
    }
    let authority = Authority::new();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(std::env::args_os().skip(1));
    let status = again.env(AUTHORITIES, authority.certificate()).status().unwrap();
    Some(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

type Test = Box<dyn Fn(usize) -> Result<cuts::Count, Vec<String>>>;

/// All tests by name; each is told how many points it should have.
fn tests() -> Vec<(String, Test)> {
    let cuts = SCENARIOS.map(|scenario| {
        let test: Test = Box::new(move |points| cuts::everywhere(&scenario, points));
        (scenario.name.to_owned(), test)
    });
    let with_faults = [
        SCENARIOS[0],
        SCENARIOS[3],
        scenario(
            "a_delta_of_a_partition",
            512,
            Contents::PartitionDelta,
            Before::Sound,
        ),
    ];
    let faults = with_faults.map(|scenario| {
        let test: Test = Box::new(move |points| faults::of_the_installer(&scenario, points));
        (format!("{}_with_faults", scenario.name), test)
    });
    let daemon: Test = Box::new(faults::of_the_daemon);
    let daemon = ("the_daemon_with_faults".to_owned(), daemon);
    let loader = [512, 4096].map(|sector| {
        let test: Test = Box::new(move |points| loader::everywhere(sector, points));
        (format!("the_slot_loader_{sector}"), test)
    });
    let grub = [512, 4096].map(|sector| {
        let test: Test = Box::new(move |points| grub::everywhere(sector, points));
        (format!("grub_spends_a_try_{sector}"), test)
    });
    cuts.into_iter()
        .chain(faults)
        .chain([daemon])
        .chain(loader)
        .chain(grub)
        .collect()
}

fn run(options: &Options, tests: Vec<(String, Test)>) -> ExitCode {
    let (mut total, mut failed) = (cuts::Count::default(), 0);
    let begun = Instant::now();
    // The one that is refused writes nothing.
    let each = options.points.div_ceil(SCENARIOS.len() - 1);
    for (name, test) in tests.into_iter().filter(|(name, _)| options.wants(name)) {
        let ended = catch_unwind(AssertUnwindSafe(|| test(each)));
        // What it said is on the screen already.
        match ended.unwrap_or_else(|_| Err(vec!["the test itself gave up".to_owned()])) {
            Ok(count) => {
                println!("test {name} ... ok ({count})");
                total += count;
            }
            Err(flaws) => {
                failed += 1;
                println!("test {name} ... FAILED: {} flaws", flaws.len());
                for flaw in flaws.iter().take(10) {
                    println!("    {flaw}");
                }
            }
        }
    }
    println!(
        "crash safety: {total} in {:.1} s; {failed} tests failed",
        begun.elapsed().as_secs_f32()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The program that is recorded: one attempt of the real installer.
fn attempt(arguments: &[String]) -> ExitCode {
    let [root, disk, payload, url, content] = arguments else {
        panic!("attempt ROOT DISK PAYLOAD URL BYTES-OF-CONTENT-PAYLOAD");
    };
    let payload = std::fs::read(payload).unwrap();
    let attempt = Attempt {
        root: Path::new(root),
        disk: Path::new(disk),
        url: url.clone(),
        payload: &payload,
        content: content.parse().unwrap(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.unwrap().block_on(attempt.run(fetcher())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
