//! The image in a slot, judged before it boots: its release, the node that it is for, and the
//! kernel that it needs. Pure, but for reading an image through
//! [`ReadBlocks`](payload_format::ReadBlocks).
//!
//! | question | where |
//! |---|---|
//! | what does an `os-release` say? | [`OsRelease`] |
//! | is the image for this node's architecture and board? | [`ImageIdentity`] |
//! | which machine is a kernel for, and which `/usr` does it insist on? | [`KernelHeader`] |
//! | what is the root of a slot's dm-verity hash tree? | [`root_hash`] |
//!
//! Invariant: what an image doesn't say is no mismatch. Forced downgrades, old images and changes
//! of distribution stay possible.

mod identity;
mod kernel;
mod os_release;
mod verity;

pub use identity::{ImageIdentity, WrongImage};
pub use kernel::KernelHeader;
pub use os_release::{OsRelease, OsReleaseError};
pub use verity::root_hash;

/// Path of the file that says what an image is, below its `/usr`.
pub const OS_RELEASE: &str = "lib/os-release";

/// Name of an architecture in systemd's words (`ConditionArchitecture=`), of a machine as `uname
/// -m` says it; the machine's own for one that has no other name.
#[must_use]
pub fn architecture_of(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "armv4l" | "armv5l" | "armv5tel" | "armv5tejl" | "armv6l" | "armv7l" | "armv8l" => "arm",
        "ppc64le" => "ppc64-le",
        "ppcle" => "ppc-le",
        "loongarch64" => "loongarch64",
        other => other,
    }
}

/// Version of systemd by the name of its own library, `libsystemd-shared-VERSION.so`, in which a
/// build's suffix may follow the number; none for any other file.
fn systemd_version_of(file_name: &str) -> Option<u32> {
    let version = file_name
        .strip_prefix("libsystemd-shared-")?
        .strip_suffix(".so")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// Directories of systemd's own library, below an image's `/usr`, beside those of Debian's
/// architectures.
const LIBRARIES: [&str; 2] = ["lib64/systemd", "lib/systemd"];

/// Version of an image's systemd, where `names` lists a directory below the image's `/usr`: the
/// highest in the first directory that has its library.
#[must_use]
pub fn systemd_version(names: impl Fn(&str) -> Vec<String>) -> Option<u32> {
    let mut debian = names("lib");
    debian.retain(|name| name.contains("-linux-"));
    debian.sort();
    let debian = debian.iter().map(|name| format!("lib/{name}/systemd"));
    let mut directories = LIBRARIES.into_iter().map(str::to_owned).chain(debian);
    directories.find_map(|directory| {
        let names = names(&directory);
        names.iter().filter_map(|name| systemd_version_of(name)).max()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_systemd_is_in_the_name_of_its_library() {
        for (name, version) in [
            ("libsystemd-shared-252.so", Some(252)),
            ("libsystemd-shared-257.8-1.fc42.so", Some(257)),
            ("libsystemd-shared-258~rc1.so", Some(258)),
            ("libsystemd-shared-.so", None),
            ("libsystemd-core-257.so", None),
            ("libsystemd-shared-99999999999.so", None),
        ] {
            assert_eq!(systemd_version_of(name), version, "{name}");
        }
    }

    #[test]
    fn systemd_is_that_of_its_own_directories_alone() {
        let version = |files: &[&str]| {
            systemd_version(|directory| {
                let below = files
                    .iter()
                    .filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
                below
                    .filter_map(|path| path.split('/').next())
                    .map(str::to_owned)
                    .collect()
            })
        };
        let debian = "lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so";
        assert_eq!(version(&[debian]), Some(257));
        assert_eq!(
            version(&["lib/systemd/libsystemd-shared-255.4.so", debian]),
            Some(255)
        );
        assert_eq!(
            version(&[
                "lib64/systemd/libsystemd-shared-252.so",
                "lib64/systemd/libsystemd-shared-256.so"
            ]),
            Some(256)
        );
        for elsewhere in [
            "share/initrd/lib/systemd/libsystemd-shared-252.so",
            "lib/systemd/portable/libsystemd-shared-252.so",
            "lib/libsystemd-shared-252.so",
            "lib/debug/systemd/libsystemd-shared-252.so",
        ] {
            assert_eq!(version(&[elsewhere]), None, "{elsewhere}");
        }
    }
}
