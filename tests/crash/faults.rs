//! Calls that fail: an error of the disk or a full file system, at the nth call of each kind.

use std::sync::Mutex;
use std::thread;

use crate::announced;
use crate::cuts::Count;
use crate::daemon;
use crate::memory::Told;
use crate::node::{KERNEL_B, Node, OEM_B};
use crate::oracle::Afterlife;
use crate::scenario::{Scenario, attempt, said};
use crate::story::{CLAIM, MARKER, REQUEST, STAGED, Story};
use crate::trace::{Fault, faulted};

/// The first sector of a write is lost, and nobody says so.
const LIE: &str = "retval=512";
/// The same of a write that may be as short as the rest of a block.
const SHORT_LIE: &str = "retval=16";

const CHECKPOINT: &str = "/var/lib/update_engine/install/.checkpoint.new";
const MANIFEST: &str = "/var/lib/update_engine/install/.manifest.new";

/// What fails: call, file (none: the disk), how.
const FAULTS: [(&str, &str, &str); 23] = [
    ("pwrite64", "", LIE),
    ("pwrite64", KERNEL_B, LIE),
    ("pwrite64", "", "error=EIO"),
    ("fsync", "", "error=EIO"),
    ("fdatasync", "", "error=EIO"),
    ("pwrite64", KERNEL_B, "error=ENOSPC"),
    ("pwrite64", KERNEL_B, "error=EIO"),
    ("ftruncate", KERNEL_B, "error=ENOSPC"),
    ("fsync", KERNEL_B, "error=EIO"),
    ("openat", KERNEL_B, "error=EROFS"),
    ("fsync", "/boot/flatcar", "error=EIO"),
    ("pwrite64", OEM_B, SHORT_LIE),
    ("pwrite64", OEM_B, "error=EIO"),
    ("fdatasync", OEM_B, "error=EIO"),
    ("openat", OEM_B, "error=EBUSY"),
    ("openat", CHECKPOINT, "error=ENOSPC"),
    ("write", CHECKPOINT, "error=ENOSPC"),
    ("fsync", CHECKPOINT, "error=EIO"),
    ("rename", CHECKPOINT, "error=ENOSPC"),
    ("write", MANIFEST, "error=ENOSPC"),
    ("fsync", MANIFEST, "error=EIO"),
    ("unlink", "/var/lib/update_engine/install/checkpoint", "error=EIO"),
    ("fsync", "/var/lib/update_engine/install", "error=EIO"),
];

const PREFS: &str = "/var/lib/update_engine/prefs";
const RECORD: &str = "/var/lib/update_engine/.history.new";

const STAGED_RECORD: &str = "/var/lib/update_engine/.staged.new";

/// The same for the daemon, in each of its stories.
const DAEMON_FAULTS: [(Story, &str, &str, &str); 66] = [
    (Story::Update, "openat", RECORD, "error=ENOSPC"),
    (Story::Update, "write", RECORD, "error=ENOSPC"),
    (Story::Update, "fsync", RECORD, "error=EIO"),
    (Story::Update, "rename", RECORD, "error=ENOSPC"),
    (Story::Update, "fsync", "/var/lib/update_engine", "error=EIO"),
    (Story::Update, "fsync", PREFS, "error=EIO"),
    (
        Story::Update,
        "write",
        "/var/lib/update_engine/prefs/.full-response.new",
        "error=ENOSPC",
    ),
    (
        Story::Update,
        "fsync",
        "/var/lib/update_engine/prefs/.previous-version.new",
        "error=EIO",
    ),
    (
        Story::Update,
        "rename",
        "/var/lib/update_engine/prefs/.update-state-next-operation.new",
        "error=ENOSPC",
    ),
    (Story::Update, "openat", MARKER, "error=EROFS"),
    (Story::Update, "openat", REQUEST, "error=ENOSPC"),
    (Story::Update, "openat", CLAIM, "error=ENOSPC"),
    (Story::Kept, "pwrite64", "", LIE),
    (Story::Kept, "pwrite64", "", "error=EIO"),
    (Story::Kept, "fsync", "", "error=EIO"),
    (Story::Kept, "fdatasync", "", "error=EIO"),
    (Story::Kept, "openat", RECORD, "error=ENOSPC"),
    (Story::Kept, "write", RECORD, "error=ENOSPC"),
    (Story::Kept, "rename", RECORD, "error=ENOSPC"),
    (Story::Kept, "fsync", "/var/lib/update_engine", "error=EIO"),
    (Story::GivenUp, "pwrite64", "", LIE),
    (Story::GivenUp, "pwrite64", "", "error=EIO"),
    (Story::GivenUp, "fsync", "", "error=EIO"),
    (Story::GivenUp, "fdatasync", "", "error=EIO"),
    (Story::GivenUp, "openat", RECORD, "error=ENOSPC"),
    (Story::GivenUp, "fsync", RECORD, "error=EIO"),
    (Story::GivenUp, "rename", RECORD, "error=ENOSPC"),
    (Story::GivenUp, "fsync", "/var/lib/update_engine", "error=EIO"),
    (Story::RolledBack, "openat", RECORD, "error=ENOSPC"),
    (Story::RolledBack, "write", RECORD, "error=ENOSPC"),
    (Story::RolledBack, "rename", RECORD, "error=ENOSPC"),
    (Story::RolledBack, "fsync", PREFS, "error=EIO"),
    (Story::Reset, "unlink", MARKER, "error=EROFS"),
    (Story::Reset, "unlink", REQUEST, "error=EROFS"),
    (Story::Reset, "unlink", CLAIM, "error=EROFS"),
    (Story::Reset, "openat", RECORD, "error=ENOSPC"),
    (Story::Withdrawn, "unlink", MARKER, "error=EROFS"),
    (Story::Withdrawn, "unlink", REQUEST, "error=EROFS"),
    (Story::Withdrawn, "unlink", CLAIM, "error=EROFS"),
    (Story::Withdrawn, "pwrite64", "", LIE),
    (Story::Withdrawn, "pwrite64", "", "error=EIO"),
    (Story::Withdrawn, "fsync", "", "error=EIO"),
    (Story::Superseded, "unlink", MARKER, "error=EROFS"),
    (Story::Superseded, "unlink", REQUEST, "error=EROFS"),
    (Story::Superseded, "pwrite64", "", LIE),
    (Story::Superseded, "pwrite64", "", "error=EIO"),
    (Story::Superseded, "pwrite64", OEM_B, "error=EIO"),
    (Story::Superseded, "rename", RECORD, "error=ENOSPC"),
    (Story::Staged, "openat", STAGED_RECORD, "error=ENOSPC"),
    (Story::Staged, "fsync", STAGED_RECORD, "error=EIO"),
    (Story::Staged, "rename", STAGED_RECORD, "error=ENOSPC"),
    (Story::Staged, "pwrite64", "", LIE),
    (Story::Activated, "pwrite64", "", LIE),
    (Story::Activated, "pwrite64", "", "error=EIO"),
    (Story::Activated, "fsync", "", "error=EIO"),
    (Story::Activated, "unlink", STAGED, "error=EROFS"),
    (Story::ActivatedByReboot, "pwrite64", "", LIE),
    (Story::ActivatedByReboot, "pwrite64", "", "error=EIO"),
    (Story::ActivatedByReboot, "fsync", "", "error=EIO"),
    (Story::Unstaged, "unlink", STAGED, "error=EROFS"),
    (Story::WentBack, "rename", RECORD, "error=ENOSPC"),
    (Story::WentBack, "fsync", RECORD, "error=EIO"),
    (Story::WentBack, "pwrite64", "", LIE),
    (Story::WentBack, "pwrite64", "", "error=EIO"),
    (Story::WentBack, "fsync", "", "error=EIO"),
    (Story::WentBack, "openat", MARKER, "error=EROFS"),
];

/// The how manieth call fails. Calls are counted by thread, of which there are a few.
const NTH: [usize; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// As many of them in a short run.
const FEW: usize = 4;

/// And of the daemon's, which takes its time.
const FEW_OF_THE_DAEMON: usize = 1;

/// Enough points for all of [`NTH`].
const LONG: usize = 2000;

type Verdicts = Result<Count, Vec<String>>;

/// After each fault the attempt ends as such, everything boots, and the next attempt succeeds.
pub(crate) fn of_the_installer(scenario: &Scenario, points: usize) -> Verdicts {
    let truth = scenario.truth();
    let nths = if points >= LONG { NTH.len() } else { FEW };
    let faults = FAULTS
        .into_iter()
        .flat_map(|fault| NTH[..nths].iter().map(move |nth| (fault, *nth)));
    each(faults.collect(), |((call, path, outcome), nth)| {
        let node = Node::new();
        node.put(&truth.start);
        let fault = fault(&node, (call, path, outcome), nth);
        let output = attempt(&node, &truth.payload, |program| faulted(program, &fault));
        if !matches!(output.status.code(), Some(0 | 1)) {
            return Err(format!(
                "{nth}. {call} of {path}: {} {}",
                output.status,
                said(&output)
            ));
        }
        let verdict = Afterlife::new(&truth).live(&node.state(), Told::default());
        verdict.map_err(|flaw| format!("{nth}. {call} of {path}: {outcome}: {flaw}; {}", said(&output)))
    })
}

/// After each fault the daemon still ends when it is asked to, everything boots, and what happened
/// is known; or it said that it isn't.
pub(crate) fn of_the_daemon(points: usize) -> Verdicts {
    let nths = if points >= LONG { 3 } else { FEW_OF_THE_DAEMON };
    let faults = DAEMON_FAULTS
        .into_iter()
        .flat_map(|fault| NTH[..nths].iter().map(move |nth| (fault, *nth)));
    each(faults.collect(), |((story, call, path, outcome), nth)| {
        let truth = Scenario::of(story).truth();
        let ended = daemon::live(story, &truth, |program, node| {
            faulted(program, &fault(node, (call, path, outcome), nth))
        });
        let failed = |flaw: &str| {
            Err(format!(
                "{story:?}, {nth}. {call} of {path}: {outcome}: {flaw}; {}",
                ended.log
            ))
        };
        // What a reboot runs says so if it could not do it.
        let may_fail = story == Story::ActivatedByReboot && ended.status.code() == Some(1);
        if !(ended.status.success() || may_fail) || ended.log.contains("panicked") {
            return failed(&ended.status.to_string());
        }
        let mut state = ended.node.state();
        if let Err(flaw) = announced::check(&truth, &state) {
            return failed(&flaw);
        }
        state.lose_memory();
        let afterlife = Afterlife::new(&truth);
        let verdict = if ended.log.contains("is not remembered") {
            afterlife.live_without_memory(&state)
        } else {
            afterlife.live(&state, ended.told)
        };
        verdict.or_else(|flaw| failed(&flaw))
    })
}

fn fault(node: &Node, (call, path, outcome): (&'static str, &str, &'static str), nth: usize) -> Fault {
    let path = match path {
        "" => node.disk(),
        path => node.root().join(path.trim_start_matches('/')),
    };
    Fault {
        call,
        path,
        outcome,
        nth,
    }
}

/// Tries all faults, as many at a time as there are processors.
fn each<T: Send>(faults: Vec<T>, attempt: impl Fn(T) -> Result<(), String> + Sync) -> Verdicts {
    let count = Count {
        faults: faults.len(),
        ..Count::default()
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let (left, flaws) = (Mutex::new(faults), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(fault) = take(&left) {
                    flaws.lock().unwrap().extend(attempt(fault).err());
                }
            });
        }
    });
    let flaws = flaws.into_inner().unwrap();
    if flaws.is_empty() { Ok(count) } else { Err(flaws) }
}

fn take<T>(left: &Mutex<Vec<T>>) -> Option<T> {
    left.lock().unwrap().pop()
}
