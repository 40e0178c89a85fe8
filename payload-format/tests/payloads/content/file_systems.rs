//! Images of file systems, by the tools that make them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::noise::noise;

/// Text that compresses.
pub(super) fn text(seed: u64, len: usize) -> Vec<u8> {
    let words = noise(seed, len / 4 + 8);
    let text = words
        .iter()
        .flat_map(|byte| format!("{:x} word{} ", byte / 9, byte % 31).into_bytes());
    text.take(len).collect()
}

/// A tree of files, by name.
pub(super) type Tree = BTreeMap<String, Vec<u8>>;

pub(super) fn tree() -> Tree {
    let small = (0..40).map(|number: u32| (format!("share/small/{number}"), text(number.into(), 3000)));
    let large = [
        ("lib/library".to_owned(), noise(1, 300_000)),
        ("lib/program".to_owned(), text(2, 500_000)),
        ("share/document".to_owned(), text(3, 200_000)),
        ("empty".to_owned(), Vec::new()),
    ];
    small.chain(large).collect()
}

/// The image that a tool makes of a tree; in its `arguments` these are `TREE` and `IMAGE`.
fn made(tool: &str, tree: &Tree, arguments: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (root, image) = (directory.path().join("tree"), directory.path().join("image"));
    std::fs::create_dir(&root).unwrap();
    write(tree, &root);
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(32 << 20).unwrap();
    let places = ["/usr/sbin", "/sbin", "/usr/bin"].map(|place| Path::new(place).join(tool));
    let program = places.iter().find(|path| path.exists()).expect(tool);
    let arguments = arguments.iter().map(|argument| match *argument {
        "TREE" => root.as_os_str(),
        "IMAGE" => image.as_os_str(),
        argument => OsStr::new(argument),
    });
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(image).unwrap()
}

pub(super) fn ext4(tree: &Tree) -> Vec<u8> {
    made(
        "mke2fs",
        tree,
        &[
            "-q",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-O",
            "^has_journal",
            "-d",
            "TREE",
            "IMAGE",
        ],
    )
}

pub(super) fn btrfs(tree: &Tree) -> Vec<u8> {
    made(
        "mkfs.btrfs",
        tree,
        &[
            "-q",
            "--mixed",
            "-m",
            "single",
            "-d",
            "single",
            "--rootdir",
            "TREE",
            "IMAGE",
        ],
    )
}

pub(super) fn squashfs(tree: &Tree) -> Vec<u8> {
    let options = ["-noappend", "-quiet", "-no-progress", "-comp", "zstd"];
    made("mksquashfs", tree, &[&["TREE", "IMAGE"], &options[..]].concat())
}

pub(super) fn erofs(tree: &Tree) -> Vec<u8> {
    made("mkfs.erofs", tree, &["--quiet", "-zlz4hc", "IMAGE", "TREE"])
}

/// As the kernel writes btrfs with zstd. Only root may mount; nobody in some containers.
pub(super) fn kernel_btrfs(tree: &Tree) -> Option<Vec<u8>> {
    kernel_btrfs_after(tree, "true")
}

/// The same, after a command of the shell in its root directory.
pub(super) fn kernel_btrfs_after(tree: &Tree, command: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let (image, root) = (directory.path().join("image"), directory.path().join("root"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(&image, btrfs(&Tree::new())).unwrap();
    // Nobody but this thread sees the mount, which ends with the program.
    let fill = r#"mount -o loop,compress-force=zstd:3 "$0" "$1" && cp -r "$2/." "$1" && (cd "$1" && eval "$3") && umount "$1""#;
    let files = tempfile::tempdir().unwrap();
    write(tree, files.path());
    let paths = [image.as_path(), root.as_path(), files.path()];
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", fill])
        .args(paths)
        .arg(command)
        .output()
        .unwrap();
    if !output.status.success() {
        eprint!("nothing is shown: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(std::fs::read(image).unwrap())
}

fn write(tree: &Tree, root: &Path) {
    for (name, content) in tree {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}
