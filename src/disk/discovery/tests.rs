use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::*;

#[test]
fn the_last_mount_on_usr_is_the_one_that_is_seen() {
    let mounts = "22 1 8:9 / / rw - ext4 /dev/sda9 rw\n\
                  23 22 8:3 / /usr ro master:1 - ext4 /dev/sda3 ro\n\
                  24 22 0:25 / /usr/share/oem rw - btrfs /dev/sda6 rw\n\
                  25 23 0:26 / /usr ro,relatime shared:9 - btrfs /dev/mapper/a\\040b ro\n";
    assert_eq!(source_of_usr(mounts).as_deref(), Some("/dev/mapper/a b"));
    assert_eq!(source_of_usr("22 1 8:9 / / rw - ext4 /dev/sda9 rw\n"), None);
    assert_eq!(source_of_usr("x y z / /usr"), None);
}

/// A disk with partition 3 below dm-verity, as sysfs shows it.
fn sysfs() -> TempDir {
    let sys = TempDir::new().unwrap();
    let path = |name: &str| sys.path().join(name);
    for directory in [
        "dev/block",
        "devices/sda/sda3",
        "devices/dm-0/slaves",
        "devices/dm-1/slaves",
    ] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    fs::write(path("devices/sda/uevent"), "MAJOR=8\nDEVNAME=cciss/c0d0\n").unwrap();
    fs::write(path("devices/sda/sda3/partition"), "3\n").unwrap();
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
        assert_eq!(partition.partition_number(), Some(3));
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
