//! Slot loader under real firmware: `boot/loader` and OVMF.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{COMMAND_LINE, Loader, Start};
use crate::command::run;
use crate::disk::Disk;
use crate::files;

const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The built slot loader and its firmware.
pub(crate) struct SlotLoader {
    application: PathBuf,
}

impl SlotLoader {
    /// Builds the loader as it is in `repository`.
    pub(crate) fn build(repository: &Path) -> Result<Self> {
        ensure!(
            Path::new(FIRMWARE).exists(),
            "no UEFI firmware at {FIRMWARE}: apt-get install ovmf"
        );
        let built = run(&mut Command::new(repository.join("boot/loader/build")))
            .context("the slot loader does not build; `--loader model` does without")?;
        Ok(Self {
            application: built.trim().into(),
        })
    }
}

impl Loader for SlotLoader {
    fn install(&self, disk: &Disk, scratch: &Path) -> Result<()> {
        let command_line = scratch.join("cmdline");
        files::write(&command_line, COMMAND_LINE.as_bytes())?;
        disk.esp_directory("EFI")?;
        disk.esp_directory("EFI/BOOT")?;
        disk.esp_write("EFI/BOOT/BOOTX64.EFI", &self.application)?;
        disk.esp_write("cmdline", &command_line)
    }

    fn start(&self, _disk: &Disk, scratch: &Path) -> Result<Start> {
        let variables = scratch.join("firmware-variables");
        // Fresh each time: nothing that the firmware remembers may decide which slot boots.
        fs::copy(VARIABLES, &variables).with_context(|| format!("cannot copy {VARIABLES}"))?;
        Ok(Start::Firmware {
            code: FIRMWARE.into(),
            variables,
        })
    }
}
