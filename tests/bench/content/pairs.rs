//! The pairs of images that are measured, and what has to be reached with them.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Outcome, shell};
use crate::arguments::Arguments;
use crate::shell::word;

/// The packages that images are made of, with their versions.
pub const PACKAGES: &str = include_str!("packages.txt");

const SCRIPT: &str = include_str!("pairs.sh");

/// An old image, a new one with its kernel, and what may be fetched of that: in per cent of the
/// payload.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: &'static str,
    /// Of the payload that it is held against, and of files.
    pub format: &'static str,
    pub old: PathBuf,
    pub new: PathBuf,
    pub kernel: PathBuf,
    pub must: Option<f64>,
    pub aim: Option<f64>,
}

/// The pair that further bars are about.
pub const MONTH: &str = "a month, btrfs with zstd";

/// The same, by a content payload that has patches from the pair's old image.
pub const PATCHED: &str = "a month, with a patch for this predecessor, btrfs with zstd";

/// Others are measured with this one, too.
pub const MONTH_EXT4: &str = "a month, ext4";

/// Likewise: all of it is fetched.
pub const NOTHING: &str = "a node that has nothing, btrfs with zstd";

/// Name, format, old and new image, the new one's kernel, and the bars.
type Row = (
    &'static str,
    &'static str,
    [&'static str; 3],
    Option<f64>,
    Option<f64>,
);

/// Of images that the script makes. The first one's payload is that of its format.
const PAIRS: [Row; 9] = [
    (
        MONTH,
        "btrfs",
        ["btrfs-old", "btrfs-new", "kernel-new"],
        Some(27.0),
        Some(22.0),
    ),
    (
        "kernel and libraries, btrfs with zstd",
        "btrfs",
        ["btrfs-old", "btrfs-kernel", "kernel-new"],
        Some(17.0),
        Some(14.0),
    ),
    (
        "libraries, btrfs with zstd",
        "btrfs",
        ["btrfs-old", "btrfs-libraries", "kernel-old"],
        Some(4.0),
        Some(2.0),
    ),
    (
        "the same tree filled twice, btrfs with zstd",
        "btrfs",
        ["btrfs-old", "btrfs-again", "kernel-old"],
        Some(2.5),
        Some(1.0),
    ),
    (
        PATCHED,
        "btrfs",
        ["btrfs-old", "btrfs-new", "kernel-new"],
        Some(15.0),
        Some(10.0),
    ),
    (
        NOTHING,
        "btrfs",
        ["nothing", "btrfs-new", "kernel-new"],
        Some(102.0),
        Some(92.0),
    ),
    (
        MONTH_EXT4,
        "ext4",
        ["ext4-old", "ext4-new", "kernel-new"],
        Some(36.0),
        Some(30.0),
    ),
    (
        "a month, squashfs with zstd",
        "squashfs",
        ["squashfs-old", "squashfs-new", "kernel-new"],
        None,
        Some(35.0),
    ),
    (
        "a month, erofs with lz4hc",
        "erofs",
        ["erofs-old", "erofs-new", "kernel-new"],
        None,
        Some(35.0),
    ),
];

/// Those that are asked for, made below `work`.
pub fn make(arguments: &Arguments, work: &Path) -> Outcome<Vec<Pair>> {
    if let [old, new, kernel] = arguments.images.as_slice() {
        return Ok(vec![Pair {
            name: MONTH,
            format: "given",
            old: std::path::absolute(old)?,
            new: std::path::absolute(new)?,
            kernel: std::path::absolute(kernel)?,
            must: None,
            aim: None,
        }]);
    }
    println!("images of two versions of packages");
    let (script, list) = (work.join("pairs.sh"), work.join("packages.txt"));
    std::fs::write(&script, SCRIPT)?;
    std::fs::write(&list, PACKAGES)?;
    let place = work.join("pairs");
    shell::run(&format!(
        "bash {} {} {}",
        word(&script),
        word(&place),
        word(&list)
    ))?;
    File::create(place.join("nothing.img"))?.set_len(1 << 20)?;
    let image = |name: &str| place.join(format!("{name}.img"));
    let pair = |(name, format, [old, new, kernel], must, aim): Row| Pair {
        name,
        format,
        old: image(old),
        new: image(new),
        kernel: place.join(kernel),
        must,
        aim,
    };
    let pairs = PAIRS.into_iter().filter(|(name, ..)| arguments.wants(name));
    Ok(pairs.map(pair).collect())
}
