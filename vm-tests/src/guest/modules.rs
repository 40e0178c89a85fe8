//! Drivers for the initrd, in an order in which they can be loaded.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::architecture::Architecture;

/// Modules that a guest needs; the rest follows from their own lists. `crc32c_generic` is asked for
/// by ext4 when it mounts, not when it is loaded; the two character sets by vfat; `loop` and
/// `overlay` by extensions; `autofs4` by what is mounted on demand. `softdog`, `btrfs` and `dm_verity` are
/// loaded where a story wants them.
const WANTED: [&str; 14] = [
    "virtio_blk",
    "virtio_net",
    "i6300esb",
    "softdog",
    "crc32c_generic",
    "ext4",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "loop",
    "overlay",
    "autofs4",
    "btrfs",
    "dm_verity",
];

/// The watchdog of the chipset that QEMU's machines for x86-64 have: the device on which it is found, and
/// its driver. Loaded where a story wants them.
const CHIPSET: [&str; 2] = ["lpc_ich", "iTCO_wdt"];

/// The wanted modules below `directory` and those they need, each after what it needs.
pub(super) fn in_order(directory: &Path, architecture: Architecture) -> Result<Vec<(String, Vec<u8>)>> {
    let mut known = HashMap::new();
    find(directory, &mut known)?;
    let mut order = Vec::new();
    let chipset: &[&str] = match architecture {
        Architecture::Amd64 => &CHIPSET,
        Architecture::Arm64 | Architecture::Arm64Pages16K => &[],
    };
    for name in WANTED.iter().chain(chipset) {
        add(name, &known, &mut order)?;
    }
    Ok(order)
}

fn add(name: &str, known: &HashMap<String, PathBuf>, order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if order.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let Some(path) = known.get(name) else {
        bail!("the kernel has no module {name}");
    };
    let module = crate::files::read(path)?;
    for needed in needs(&module) {
        add(&needed, known, order)?;
    }
    order.push((name.to_owned(), module));
    Ok(())
}

/// The module's `depends=`, in its `.modinfo` section: NUL-terminated strings.
fn needs(module: &[u8]) -> Vec<String> {
    let list = module
        .split(|&byte| byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
        .unwrap_or_default();
    String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn find(directory: &Path, known: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, known)?;
        } else if path.extension().is_some_and(|extension| extension == "ko")
            && let Some(stem) = path.file_stem()
        {
            known.insert(stem.to_string_lossy().replace('-', "_"), path);
        }
    }
    Ok(())
}
