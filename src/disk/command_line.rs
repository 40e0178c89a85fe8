//! The kernel's command line, held against what is mounted.
//!
//! Flatcar's says `mount.usr=/dev/mapper/usr verity.usr=PARTUUID=…`, the slot loader's
//! `mount.usr=PARTUUID=…`. It names a slot, but says nothing about the disk: PARTUUIDs and labels
//! are the same on every copy of an image. So it is never followed to a device; its words are
//! compared with the entry of the partition that is mounted. A word that names no partition by
//! either (a node of device-mapper, a file system's UUID) says nothing.

use std::fs;
use std::io;

use slots::Partition;

use super::DiscoveryError;
use crate::host::Host;

const PATH: &str = "/proc/cmdline";
/// By which images name what to mount on `/usr`; the last one is Flatcar's of old.
const OF_USR: [&str; 3] = ["mount.usr", "verity.usr", "usr"];
/// By which the root file system is named: a slot's name only where that holds `/usr`.
const OF_ROOT: &str = "root";

/// How a word of the command line names a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name<'a> {
    PartUuid(&'a str),
    Label(&'a str),
}

/// Refuses if the command line names another partition than `mounted`, which is mounted on `point`.
///
/// # Errors
/// [`DiscoveryError::Disagreement`], or the command line can't be read. One that isn't there names
/// nothing.
pub(super) fn require_agreement(
    host: &Host,
    point: &'static str,
    mounted: &Partition,
) -> Result<(), DiscoveryError> {
    let path = host.path(PATH);
    let line = match fs::read(&path) {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DiscoveryError::Read { path, source }),
    };
    let line = String::from_utf8_lossy(&line);
    match other_than(&line, point, mounted) {
        None => Ok(()),
        Some(word) => Err(DiscoveryError::Disagreement {
            word: word.to_owned(),
            point,
            number: mounted.number.get(),
            label: mounted.label.clone(),
            partuuid: mounted.guid.to_string(),
        }),
    }
}

/// The first word of `line` that counts and names another partition than `mounted`.
fn other_than<'a>(line: &'a str, point: &str, mounted: &Partition) -> Option<&'a str> {
    let keys = OF_USR.iter().chain((point == "/").then_some(&OF_ROOT));
    keys.filter_map(|key| last(line, key)).find(|word| {
        let (_, value) = word.split_once('=').unwrap_or_default();
        match Name::parse(value.trim_matches('"')) {
            Some(Name::PartUuid(uuid)) => !mounted.guid.to_string().eq_ignore_ascii_case(uuid),
            Some(Name::Label(label)) => mounted.label != label,
            None => false,
        }
    })
}

/// The last word that sets `key`: it is the one that counts.
fn last<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut words = line.split_ascii_whitespace().rev();
    words.find(|word| word.strip_prefix(key).is_some_and(|value| value.starts_with('=')))
}

impl<'a> Name<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let named = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| value.strip_prefix(prefix));
        if let Some(uuid) = named(["PARTUUID=", "/dev/disk/by-partuuid/"]) {
            return is_guid(uuid).then_some(Self::PartUuid(uuid));
        }
        let label = named(["PARTLABEL=", "/dev/disk/by-partlabel/"])?;
        // udev writes unusual characters as escapes.
        (!label.is_empty() && !label.contains('\\')).then_some(Self::Label(label))
    }
}

/// Others are of other kinds of tables, or say more than which partition (`…/PARTNROFF=1`).
fn is_guid(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use slots::{Guid, PartitionNumber, SlotAttributes};

    use super::*;

    const A: &str = "7130c94a-213a-4e5a-8e26-6cce9662f132";
    const B: &str = "e03dd35c-7c2d-4a47-b3fe-27f15780a57c";

    fn slot_a() -> Partition {
        Partition {
            number: PartitionNumber::new(3).unwrap(),
            kind: Guid::FLATCAR_USR,
            guid: Guid::FLATCAR_USR_A,
            label: "USR-A".into(),
            first_lba: 0,
            last_lba: 9,
            attributes: SlotAttributes::default(),
        }
    }

    #[test]
    fn command_lines_of_images_agree_with_their_slot() {
        for line in [
            String::new(),
            "console=ttyS0 quiet".to_owned(),
            // Flatcar's.
            format!(
                "BOOT_IMAGE=/flatcar/vmlinuz-a mount.usr=/dev/mapper/usr verity.usr=PARTUUID={A} rootflags=rw mount.usrflags=ro \
                 consoleblank=0 root=LABEL=ROOT verity.usrhash=00aa\n"
            ),
            format!("usr=PARTUUID={A} root=LABEL=ROOT"),
            format!("mount.usr=PARTUUID={}", A.to_uppercase()),
            "mount.usr=PARTLABEL=USR-A".to_owned(),
            format!("verity.usr=/dev/disk/by-partuuid/{A} mount.usr=/dev/disk/by-partlabel/USR-A"),
            format!("mount.usr=\"PARTUUID={A}\""),
            // The last word counts.
            format!("mount.usr=PARTUUID={B} mount.usr=PARTUUID={A}"),
            // What names no partition says nothing, nor what isn't about /usr.
            format!("mount.usr=UUID={B} usr=/dev/sda4 verity.usr= mount.usr=PARTUUID=00000000-04"),
            format!(
                "mount.usr=PARTUUID={B}/PARTNROFF=-1 root=PARTUUID={B} flatcar.usr=PARTUUID={B} mount.usrflags={B}"
            ),
            "mount.usr=/dev/disk/by-partlabel/USR\\x20A".to_owned(),
        ] {
            assert_eq!(other_than(&line, "/usr", &slot_a()), None, "{line}");
        }
    }

    #[test]
    fn a_command_line_that_names_another_partition_disagrees() {
        for word in [
            format!("mount.usr=PARTUUID={B}"),
            format!("verity.usr=PARTUUID={B}"),
            format!("usr=PARTUUID={B}"),
            format!("usr=/dev/disk/by-partuuid/{B}"),
            "mount.usr=PARTLABEL=USR-B".to_owned(),
            "verity.usr=/dev/disk/by-partlabel/USR-B".to_owned(),
        ] {
            let line = format!("quiet {word} root=LABEL=ROOT\n");
            assert_eq!(other_than(&line, "/usr", &slot_a()), Some(word.as_str()));
        }
        let line = format!("mount.usr=PARTUUID={A} verity.usr=PARTUUID={B}");
        assert!(other_than(&line, "/usr", &slot_a()).is_some());
        let line = format!("root=PARTUUID={B}");
        assert!(other_than(&line, "/", &slot_a()).is_some());
    }
}
