//! Decompressors into `dd`, and the machine's own limits.

use std::path::PathBuf;

use super::Contestant;
use crate::Outcome;
use crate::archives::{Archive, Archives};
use crate::figures::Figures;
use crate::image::Images;
use crate::meter;
use crate::shell;
use crate::workplace::Workplace;

/// A script.
pub struct Pipe {
    name: &'static str,
    script: String,
    download: u64,
    promise: &'static str,
    /// What it writes, and what that must be then; nothing for those that only compute.
    target: Option<(PathBuf, PathBuf)>,
}

/// Those that write, then the limits of the machine.
pub fn pipes(place: &Workplace, images: &Images, archives: &Archives) -> Vec<Pipe> {
    let target = place.path("target.img");
    let write = |name, unpack: &str, archive: &Archive| Pipe {
        name,
        script: format!(
            "{unpack} {} | dd of={} bs=1M iflag=fullblock conv=notrunc,fsync status=none",
            shell::word(&archive.path),
            shell::word(&target)
        ),
        download: archive.bytes,
        promise: "syncs",
        target: Some((target.clone(), images.new.clone())),
    };
    let compute = |name, script: String| Pipe {
        name,
        script,
        download: 0,
        promise: "a limit of the machine",
        target: None,
    };
    let raw = Archive {
        path: images.new.clone(),
        bytes: place.size,
        ..archives.zstd.clone()
    };
    vec![
        Pipe {
            name: "dd, direct",
            script: format!(
                "dd if={} of={} bs=4M oflag=direct conv=notrunc,fsync status=none",
                shell::word(&images.new),
                shell::word(&target)
            ),
            download: place.size,
            promise: "a limit of the machine: the synced write, past the page cache",
            target: Some((target.clone(), images.new.clone())),
        },
        write("dd", "cat", &raw),
        write("bzip2 -dc | dd", "bzip2 -dc", &archives.bzip2),
        write("lbzip2 -dc | dd", "lbzip2 -dc", &archives.bzip2),
        write("zstd -dc | dd", "zstd -dcq", &archives.zstd),
        compute(
            "bzip2 -dc",
            format!("bzip2 -dc {} > /dev/null", shell::word(&archives.bzip2.path)),
        ),
        compute(
            "pzstd -dc",
            format!("pzstd -dcq {} > /dev/null", shell::word(&archives.pzstd.path)),
        ),
        compute(
            "SHA-256 of the image",
            format!("openssl dgst -sha256 {}", shell::word(&images.new)),
        ),
        compute(
            "SHA-256 of the v1 payload",
            format!("openssl dgst -sha256 {}", shell::word(&archives.v1.path)),
        ),
    ]
}

impl Contestant for Pipe {
    fn name(&self) -> &str {
        self.name
    }

    fn download(&self) -> u64 {
        self.download
    }

    fn promise(&self) -> &str {
        self.promise
    }

    fn install(&mut self) -> Outcome<Figures> {
        let Some((target, image)) = &self.target else {
            return meter::script(&self.script, &[]);
        };
        let figures = meter::script(&self.script, std::slice::from_ref(target))?;
        shell::run(&format!("cmp {} {}", shell::word(&target), shell::word(&image)))?;
        Ok(figures)
    }
}
