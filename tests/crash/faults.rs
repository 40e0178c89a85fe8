//! Calls that fail: an error of the disk or a full file system, at the nth call of each kind.

use crate::cuts::Count;
use crate::node::{KERNEL_B, Node};
use crate::oracle::Afterlife;
use crate::scenario::{Scenario, attempt, said};
use crate::trace::{Fault, faulted};

/// The first sector of a write is lost, and nobody says so.
const LIE: &str = "retval=512";

const CHECKPOINT: &str = "/var/lib/update_engine/install/.checkpoint.new";
const MANIFEST: &str = "/var/lib/update_engine/install/.manifest.new";

/// What fails: call, file (none: the disk), how.
const FAULTS: [(&str, &str, &str); 19] = [
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
    ("openat", CHECKPOINT, "error=ENOSPC"),
    ("write", CHECKPOINT, "error=ENOSPC"),
    ("fsync", CHECKPOINT, "error=EIO"),
    ("rename", CHECKPOINT, "error=ENOSPC"),
    ("write", MANIFEST, "error=ENOSPC"),
    ("fsync", MANIFEST, "error=EIO"),
    ("unlink", "/var/lib/update_engine/install/checkpoint", "error=EIO"),
    ("fsync", "/var/lib/update_engine/install", "error=EIO"),
];

/// The how manieth call fails. Calls are counted by thread, of which there are a few.
const NTH: [usize; 8] = [1, 2, 3, 5, 8, 13, 21, 34];

/// As many of them in a short run.
const FEW: usize = 4;

/// Enough points for all of [`NTH`].
const LONG: usize = 2000;

/// After each fault the attempt ends as such, everything boots, and the next attempt succeeds.
pub(crate) fn everywhere(scenario: &Scenario, points: usize) -> Result<Count, Vec<String>> {
    let truth = scenario.truth();
    let afterlife = Afterlife::new(&truth);
    let mut count = Count::default();
    let mut flaws = Vec::new();
    let nths = if points >= LONG { NTH.len() } else { FEW };
    for (call, path, outcome) in FAULTS {
        for nth in &NTH[..nths] {
            let node = Node::new();
            node.put(&truth.start);
            let path = match path {
                "" => node.disk(),
                path => node.root().join(path.trim_start_matches('/')),
            };
            let fault = Fault {
                call,
                path,
                outcome,
                nth: *nth,
            };
            let output = attempt(&node, &truth.payload.bytes, |program| faulted(program, &fault));
            count.faults += 1;
            let name = format!("{call} {nth} of {}: {outcome}", fault.path.display());
            if !matches!(output.status.code(), Some(0 | 1)) {
                flaws.push(format!("{name}: {} {}", output.status, said(&output)));
            }
            if let Err(flaw) = afterlife.live(&node.state()) {
                flaws.push(format!("{name}: {flaw}; {}", said(&output)));
            }
        }
    }
    if flaws.is_empty() { Ok(count) } else { Err(flaws) }
}
