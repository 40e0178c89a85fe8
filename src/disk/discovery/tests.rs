use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A disk with partitions 3 and 4, 3 below dm-verity, as sysfs shows it.
fn sysfs() -> TempDir {
    let sys = TempDir::new().unwrap();
    let path = |name: &str| sys.path().join(name);
    for directory in [
        "dev/block",
        "devices/sda/sda3",
        "devices/sda/sda4",
        "devices/dm-0/slaves",
        "devices/dm-1/slaves",
    ] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    fs::write(path("devices/sda/uevent"), "MAJOR=8\nDEVNAME=cciss/c0d0\n").unwrap();
    fs::write(path("devices/sda/sda3/partition"), "3\n").unwrap();
    fs::write(path("devices/sda/sda4/partition"), "4\n").unwrap();
    symlink("../../devices/sda/sda3", path("dev/block/8:3")).unwrap();
    symlink("../../devices/sda/sda4", path("dev/block/8:4")).unwrap();
    symlink("../../devices/dm-0", path("dev/block/253:0")).unwrap();
    symlink("../../devices/dm-1", path("dev/block/253:1")).unwrap();
    symlink("../../devices/sda", path("dev/block/8:0")).unwrap();
    symlink("../../sda/sda3", path("devices/dm-0/slaves/sda3")).unwrap();
    symlink("../../dm-0", path("devices/dm-1/slaves/dm-0")).unwrap();
    sys
}

fn bottom(sys: &TempDir, minor: u64) -> Result<BlockDevice, DiscoveryError> {
    let (partition, _) = BlockDevice::numbered(sys.path(), 253, minor)?.bottom()?;
    Ok(partition)
}

#[test]
fn dm_verity_anywhere_above_the_partition_guards_it() {
    let sys = sysfs();
    let guard = |minor| {
        BlockDevice::numbered(sys.path(), 253, minor)
            .unwrap()
            .bottom()
            .unwrap()
            .1
    };
    assert_eq!((guard(0), guard(1)), (Guard::None, Guard::None));
    let uuid = sys.path().join("devices/dm-0/dm/uuid");
    fs::create_dir_all(uuid.parent().unwrap()).unwrap();
    fs::write(&uuid, "CRYPT-LUKS2-3a0b-usr\n").unwrap();
    assert_eq!((guard(0), guard(1)), (Guard::None, Guard::None));
    fs::write(&uuid, "CRYPT-VERITY-3a0b8c-usr\n").unwrap();
    assert_eq!((guard(0), guard(1)), (Guard::Verity, Guard::Verity));
}

#[test]
fn mappings_are_followed_down_to_the_partition() {
    let sys = sysfs();
    for minor in [0, 1] {
        let partition = bottom(&sys, minor).unwrap();
        assert_eq!(partition.partition_number().unwrap(), Some(3));
        assert_eq!(
            partition.disk().unwrap().node().unwrap(),
            Path::new("/dev/cciss/c0d0")
        );
    }
}

#[test]
fn a_mapping_over_two_devices_is_refused() {
    let sys = sysfs();
    symlink("../../sda", sys.path().join("devices/dm-0/slaves/sda")).unwrap();
    assert!(matches!(
        bottom(&sys, 1),
        Err(DiscoveryError::ManyDevices { count: 2, .. })
    ));
}

#[test]
fn everything_below_a_mirror_is_found_and_below_a_partition_of_it() {
    let sys = sysfs();
    let path = |path: &str| sys.path().join(path);
    symlink("../../sda/sda4", path("devices/dm-0/slaves/sda4")).unwrap();
    fs::create_dir_all(path("devices/dm-1/dm-1p1")).unwrap();
    fs::write(path("devices/dm-1/dm-1p1/partition"), "1\n").unwrap();
    symlink("../../devices/dm-1/dm-1p1", path("dev/block/259:0")).unwrap();
    for (major, minor) in [(253, 0), (253, 1), (259, 0)] {
        let leaves = BlockDevice::numbered(sys.path(), major, minor)
            .unwrap()
            .leaves()
            .unwrap();
        let mut numbers: Vec<_> = leaves
            .iter()
            .map(|leaf| leaf.partition_number().unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [Some(3), Some(4)], "{major}:{minor}");
    }
    // What can't be followed is no leaf.
    fs::remove_file(path("devices/dm-0/slaves/sda4")).unwrap();
    fs::remove_file(path("devices/dm-0/slaves/sda3")).unwrap();
    symlink("../../dm-0", path("devices/dm-0/slaves/dm-0")).unwrap();
    let leaves = BlockDevice::numbered(sys.path(), 253, 1).unwrap().leaves();
    assert!(matches!(leaves, Err(DiscoveryError::TooDeep(_))));
}

#[test]
fn a_mapping_of_itself_does_not_hang() {
    let sys = sysfs();
    fs::remove_file(sys.path().join("devices/dm-0/slaves/sda3")).unwrap();
    symlink("../../dm-0", sys.path().join("devices/dm-0/slaves/dm-0")).unwrap();
    assert!(matches!(bottom(&sys, 0), Err(DiscoveryError::TooDeep(_))));
}

#[test]
fn a_whole_disk_is_no_partition() {
    let sys = sysfs();
    let disk = BlockDevice::numbered(sys.path(), 8, 0).unwrap();
    assert!(matches!(disk.disk(), Err(DiscoveryError::NoPartition(_))));
}

/// What is found in the table `lines` of a host with the disk of [`sysfs`].
fn found(lines: &str) -> Result<RunningPartition, DiscoveryError> {
    let root = TempDir::new().unwrap();
    let sys = sysfs();
    symlink(sys.path(), root.path().join("sys")).unwrap();
    fs::create_dir_all(root.path().join("proc/self")).unwrap();
    fs::write(root.path().join("proc/self/mountinfo"), lines).unwrap();
    running_partition(&Host::new(root.path()))
}

const SLOT: &str = "23 22 8:3 / /usr ro - ext4 /dev/sda3 ro\n";
const VERITY: &str = "24 22 253:0 / /usr ro shared:2 - ext4 /dev/mapper/usr ro\n";
const MERGED: &str = "99 23 0:45 / /usr ro - overlay sysext ro,lowerdir=/sysroot/usr\n";

#[test]
fn the_slot_is_found_below_merged_extensions_and_dm_verity() {
    for lines in [SLOT.to_owned(), format!("{MERGED}{SLOT}"), VERITY.to_owned()] {
        let running = found(&lines).unwrap();
        assert_eq!((running.partition.number, running.point), (3, "/usr"), "{lines}");
        assert!(running.partition.disk.ends_with("dev/cciss/c0d0"));
    }
    let over_verity = MERGED.replace("99 23", "99 24");
    assert_eq!(
        found(&format!("{over_verity}{VERITY}")).unwrap().partition.number,
        3
    );
    // One slot in several ways, and what is of no device, hides nothing.
    let bound = "25 23 8:3 / /usr ro - ext4 /dev/elsewhere ro\n";
    let by_verity = VERITY.replace("24 22", "24 23");
    let tmpfs = "21 1 0:9 / /usr rw - tmpfs /any rw\n";
    for more in [bound, &by_verity] {
        assert_eq!(found(&format!("{SLOT}{more}")).unwrap().partition.number, 3);
    }
    let below = SLOT.replace("23 22", "23 21");
    assert_eq!(found(&format!("{tmpfs}{below}")).unwrap().partition.number, 3);
}

#[test]
fn mounts_of_two_partitions_on_usr_are_refused_whichever_is_on_top() {
    let other = "25 23 8:4 / /usr ro - ext4 /dev/sda4 ro\n";
    let error = found(&format!("{SLOT}{other}{MERGED}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "both /dev/sda4 and /dev/sda3 are mounted on /usr: nobody can tell which of them runs"
    );
    assert!(matches!(
        found(&format!("25 22 8:4 / /usr ro - ext4 /dev/sda4 ro\n{SLOT}")),
        Err(DiscoveryError::Several { .. })
    ));
}

#[test]
fn a_root_that_holds_usr_is_the_slot() {
    let root = "22 1 8:3 / / ro - ext4 /dev/root ro\n";
    let merged = MERGED.replace("99 23", "99 22");
    for lines in [root.to_owned(), format!("{root}{merged}")] {
        let running = found(&lines).unwrap();
        assert_eq!((running.partition.number, running.point), (3, "/"));
    }
}

#[test]
fn what_is_of_no_device_is_no_slot() {
    for lines in [
        "23 22 0:9 / /usr ro - tmpfs usr ro\n",
        "22 1 0:9 / / ro - overlay live ro\n",
        &format!("{SLOT}25 23 0:9 / /usr ro - tmpfs usr ro\n"),
    ] {
        assert!(
            matches!(found(lines), Err(DiscoveryError::NoDevice(_))),
            "{lines}"
        );
    }
    assert!(matches!(found(""), Err(DiscoveryError::NotMounted)));
}

/// What can't be read is not nothing: a mapping would be taken for a partition.
#[test]
fn an_unreadable_directory_of_sysfs_is_an_error() {
    let sys = sysfs();
    fs::remove_dir_all(sys.path().join("devices/dm-0/slaves")).unwrap();
    fs::write(sys.path().join("devices/dm-0/slaves"), "").unwrap();
    assert!(matches!(bottom(&sys, 0), Err(DiscoveryError::Read { .. })));
}
