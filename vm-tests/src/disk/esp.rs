//! EFI partition, through mtools: no mount, no loop device.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use super::{Disk, SECTOR, place};
use crate::command::{run, tool};

impl Disk {
    /// An empty filesystem with the kernels' directory.
    pub(super) fn make_esp(&self) -> Result<()> {
        let mut format = tool("mformat");
        format
            .arg("-i")
            .arg(self.esp())
            .args(["-T", &place(1).len.to_string(), "-v", "EFI-SYSTEM", "::"]);
        run(&mut format)?;
        self.esp_directory("flatcar")
    }

    /// Makes a directory.
    pub(crate) fn esp_directory(&self, name: &str) -> Result<()> {
        run(tool("mmd").arg("-i").arg(self.esp()).arg(format!("::{name}"))).map(drop)
    }

    /// Copies a file of the host into the EFI partition.
    pub(crate) fn esp_write(&self, name: &str, from: &Path) -> Result<()> {
        run(tool("mcopy")
            .args(["-o", "-i"])
            .arg(self.esp())
            .arg(from)
            .arg(format!("::{name}")))
        .map(drop)
    }

    /// Copies a file of the EFI partition to the host.
    pub(crate) fn esp_read(&self, name: &str, to: &Path) -> Result<()> {
        run(tool("mcopy")
            .args(["-n", "-i"])
            .arg(self.esp())
            .arg(format!("::{name}"))
            .arg(to))
        .map(drop)
    }

    /// An image with an offset, as mtools names it.
    fn esp(&self) -> OsString {
        let mut name = self.path().as_os_str().to_owned();
        name.push(format!("@@{}", place(1).start * SECTOR));
        name
    }
}
