//! Calls that fail: an error of the disk or a full file system, at the nth call of each kind.

use crate::cuts::Count;
use crate::node::{KERNEL_B, Node};
use crate::oracle::Afterlife;
use crate::scenario::{Scenario, attempt, said};
use crate::trace::{Fault, faulted};

/// What fails: call, file (none: the disk), error.
const FAULTS: [(&str, &str, &str); 17] = [
    ("pwrite64", "", "EIO"),
    ("fsync", "", "EIO"),
    ("fdatasync", "", "EIO"),
    ("pwrite64", KERNEL_B, "ENOSPC"),
    ("pwrite64", KERNEL_B, "EIO"),
    ("ftruncate", KERNEL_B, "ENOSPC"),
    ("fsync", KERNEL_B, "EIO"),
    ("openat", KERNEL_B, "EROFS"),
    ("fsync", "/boot/flatcar", "EIO"),
    (
        "openat",
        "/var/lib/update_engine/install/.checkpoint.new",
        "ENOSPC",
    ),
    (
        "write",
        "/var/lib/update_engine/install/.checkpoint.new",
        "ENOSPC",
    ),
    ("fsync", "/var/lib/update_engine/install/.checkpoint.new", "EIO"),
    (
        "rename",
        "/var/lib/update_engine/install/.checkpoint.new",
        "ENOSPC",
    ),
    ("write", "/var/lib/update_engine/install/.manifest.new", "ENOSPC"),
    ("fsync", "/var/lib/update_engine/install/.manifest.new", "EIO"),
    ("unlink", "/var/lib/update_engine/install/checkpoint", "EIO"),
    ("fsync", "/var/lib/update_engine/install", "EIO"),
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
    for (call, path, error) in FAULTS {
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
                error,
                nth: *nth,
            };
            let output = attempt(&node, &truth.payload.bytes, |program| faulted(program, &fault));
            count.faults += 1;
            let name = format!("{call} {nth} of {}: {error}", fault.path.display());
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
