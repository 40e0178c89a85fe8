//! Slot loader under real firmware: `boot/loader` and OVMF or AAVMF.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Loader, Start, command_line};
use crate::architecture::Architecture;
use crate::command::run;
use crate::disk::Disk;
use crate::files;

/// The built slot loader and its firmware.
pub(crate) struct SlotLoader {
    application: PathBuf,
}

impl SlotLoader {
    /// Builds the loader as it is in `repository`.
    pub(crate) fn build(repository: &Path, architecture: Architecture) -> Result<Self> {
        let firmware = architecture.firmware();
        ensure!(
            Path::new(firmware.code).exists(),
            "no UEFI firmware at {}: apt-get install {}",
            firmware.code,
            firmware.package
        );
        let built =
            run(Command::new(repository.join("boot/loader/build"))
                .args(["--target", architecture.efi_target()]))
            .context("the slot loader does not build; `--loader model` does without")?;
        Ok(Self {
            application: built.trim().into(),
        })
    }
}

impl Loader for SlotLoader {
    fn install(&self, disk: &Disk, scratch: &Path, architecture: Architecture) -> Result<()> {
        let line = scratch.join("cmdline");
        files::write(&line, command_line(architecture, disk).as_bytes())?;
        disk.esp_directory("EFI")?;
        disk.esp_directory("EFI/BOOT")?;
        disk.esp_write(architecture.boot_file(), &self.application)?;
        disk.esp_write("cmdline", &line)
    }

    fn arms_watchdogs(&self) -> bool {
        true
    }

    fn start(&self, _disk: &Disk, scratch: &Path, architecture: Architecture) -> Result<Start> {
        let firmware = architecture.firmware();
        let variables = scratch.join("firmware-variables");
        // Fresh each time: nothing that the firmware remembers may decide which slot boots.
        fs::copy(firmware.variables, &variables)
            .with_context(|| format!("cannot copy {}", firmware.variables))?;
        Ok(Start::Firmware {
            code: firmware.code.into(),
            variables,
        })
    }
}
