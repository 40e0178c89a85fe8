//! Processors of the machines, and what of a guest depends on them.

use clap::ValueEnum;

/// Processor architecture of the machines, whatever the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64, as most hosts that run this.
    Amd64,
    /// 64-bit ARM: programs and loader are cross-built, QEMU emulates it.
    Arm64,
    /// The same with memory pages of 16 KiB: another kernel of Debian 13, on a processor that has them.
    #[value(name = "arm64-16k")]
    Arm64Pages16K,
}

/// UEFI firmware of QEMU's machines.
pub(crate) struct Firmware {
    /// Its code.
    pub(crate) code: &'static str,
    /// Its variables, as they come from the factory.
    pub(crate) variables: &'static str,
    /// Debian's package of both.
    pub(crate) package: &'static str,
}

impl Architecture {
    /// Debian's name of it, which is Flatcar's too.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 | Self::Arm64Pages16K => "arm64",
        }
    }

    /// Debian's flavour of its kernel (`linux-image-FLAVOUR`), if it isn't the architecture's own.
    pub(crate) fn kernel_flavour(self) -> Option<&'static str> {
        match self {
            Self::Amd64 | Self::Arm64 => None,
            Self::Arm64Pages16K => Some("arm64-16k"),
        }
    }

    /// Bytes of a page of memory under that kernel.
    pub(crate) fn page_size(self) -> u32 {
        match self {
            Self::Amd64 | Self::Arm64 => 4096,
            Self::Arm64Pages16K => 16384,
        }
    }

    /// Directory of libraries below `/usr/lib`.
    pub(crate) fn triplet(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 | Self::Arm64Pages16K => "aarch64-linux-gnu",
        }
    }

    /// Where programs look for their dynamic linker, and its name in the directory of libraries.
    pub(crate) fn linker(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("lib64", "ld-linux-x86-64.so.2"),
            Self::Arm64 | Self::Arm64Pages16K => ("lib", "ld-linux-aarch64.so.1"),
        }
    }

    /// Rust's target for programs, if they are not built for the host.
    pub(crate) fn rust_target(self) -> Option<&'static str> {
        match self {
            Self::Amd64 => None,
            Self::Arm64 | Self::Arm64Pages16K => Some("aarch64-unknown-linux-gnu"),
        }
    }

    /// Rust's target for the slot loader.
    pub(crate) fn efi_target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-uefi",
            Self::Arm64 | Self::Arm64Pages16K => "aarch64-unknown-uefi",
        }
    }

    /// A tool of Debian's binutils for its files: `objcopy`.
    pub(crate) fn objcopy(self) -> &'static str {
        match self {
            Self::Amd64 => "objcopy",
            Self::Arm64 | Self::Arm64Pages16K => "aarch64-linux-gnu-objcopy",
        }
    }

    /// Another one: `objdump`.
    pub(crate) fn objdump(self) -> &'static str {
        match self {
            Self::Amd64 => "objdump",
            Self::Arm64 | Self::Arm64Pages16K => "aarch64-linux-gnu-objdump",
        }
    }

    /// File that firmware starts from a disk of which it knows nothing (UEFI 2.10, section 3.5.1.1).
    pub(crate) fn boot_file(self) -> &'static str {
        match self {
            Self::Amd64 => "EFI/BOOT/BOOTX64.EFI",
            Self::Arm64 | Self::Arm64Pages16K => "EFI/BOOT/BOOTAA64.EFI",
        }
    }

    /// systemd's stub, which makes one EFI application of a kernel and its initrd.
    pub(crate) fn stub(self) -> &'static str {
        match self {
            Self::Amd64 => "linuxx64.efi.stub",
            Self::Arm64 | Self::Arm64Pages16K => "linuxaa64.efi.stub",
        }
    }

    /// Firmware of its machines.
    pub(crate) fn firmware(self) -> Firmware {
        match self {
            Self::Amd64 => Firmware {
                code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
                variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
                package: "ovmf",
            },
            Self::Arm64 | Self::Arm64Pages16K => Firmware {
                code: "/usr/share/AAVMF/AAVMF_CODE.fd",
                variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
                package: "qemu-efi-aarch64",
            },
        }
    }

    /// QEMU, and its machine.
    pub(crate) fn qemu(self) -> (&'static str, &'static str) {
        match self {
            Self::Amd64 => ("qemu-system-x86_64", "q35"),
            Self::Arm64 | Self::Arm64Pages16K => ("qemu-system-aarch64", "virt"),
        }
    }

    /// A processor that costs little to emulate.
    pub(crate) fn processor(self) -> &'static str {
        match self {
            Self::Amd64 => "qemu64",
            Self::Arm64 => "cortex-a57",
            // An A57 has pages of 4 and 64 KiB.
            Self::Arm64Pages16K => "cortex-a76",
        }
    }

    /// The kernel's name of the serial console.
    pub(crate) fn console(self) -> &'static str {
        match self {
            Self::Amd64 => "ttyS0",
            Self::Arm64 | Self::Arm64Pages16K => "ttyAMA0",
        }
    }
}
