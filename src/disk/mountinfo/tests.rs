use super::*;

fn table(text: &str) -> MountTable {
    MountTable::parse(text.as_bytes()).unwrap()
}

/// Where and what the system is, by the sources of what is seen.
fn system(text: &str) -> (String, String) {
    let table = table(text);
    let system = table.system().unwrap();
    let seen: Vec<_> = system.seen.iter().map(|mount| mount.source_text()).collect();
    (system.point.to_owned(), seen.join(" "))
}

#[test]
fn the_layers_of_todays_merge_are_told_from_those_of_older_ones() {
    macro_rules! recorded {
        ($name:literal) => {
            include_str!(concat!("../../../tests/fixtures/mountinfo/", $name, ".txt"))
        };
    }
    let merged = |usr: &str| {
        let layers = [
            "/run/systemd/sysext/meta/usr",
            "/run/systemd/sysext/extensions/docker/usr",
            usr,
        ];
        Some(layers.map(PathBuf::from).to_vec())
    };
    let slot = merged("/mnt/sysroot/usr");
    for (text, layers) in [
        (recorded!("slot"), None),
        (recorded!("unmerged"), None),
        (recorded!("merged"), slot.clone()),
        (recorded!("refreshed"), slot.clone()),
        (recorded!("two-overlays"), slot.clone()),
        (recorded!("bound-then-merged"), slot.clone()),
        (recorded!("bound-then-refreshed"), slot.clone()),
        (recorded!("no-slot-merged"), slot),
    ] {
        assert_eq!(table(text).overlay_layers("/usr", "sysext"), layers);
    }
    let confext = table(recorded!("confext")).overlay_layers("/etc", "confext");
    assert_eq!(confext, Some(vec![PathBuf::from("/mnt/sysroot/run/conf/etc")]));
    let strange = "1 0 0:1 / / rw - ext4 /dev/a rw\n\
                   2 1 0:2 / /usr ro - overlay sysext ro,lowerdir+=/a/extensions/x\\134,y/usr,lowerdir+=/b\n";
    assert_eq!(
        table(strange).overlay_layers("/usr", "sysext"),
        Some(vec![PathBuf::from("/a/extensions/x,y/usr"), PathBuf::from("/b")])
    );
}

/// Tables of real merges: `tests/fixtures/mountinfo`.
#[test]
fn recorded_tables_lead_to_the_slot_whatever_lies_on_it() {
    macro_rules! recorded {
        ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../tests/fixtures/mountinfo/", $name, ".txt")))),*] };
    }
    for (name, text) in recorded![
        "slot",
        "merged",
        "refreshed",
        "unmerged",
        "two-overlays",
        "mounts-below",
        "confext",
        "bound-then-merged",
        "bound-then-refreshed"
    ] {
        assert_eq!(system(text), ("/usr".into(), "/dev/loop0p3".into()), "{name}");
    }
    let [(_, ext4)] = recorded!["merged-ext4"];
    assert_eq!(system(ext4), ("/usr".into(), "/dev/loop0p4".into()));
    // The root file system was a tmpfs called "root".
    let [(_, merged), (_, bound)] = recorded!["no-slot-merged", "no-slot-bound-then-merged"];
    assert_eq!(system(merged), ("/".into(), "root".into()));
    assert_eq!(system(bound), ("/usr".into(), "root".into()));
}

#[test]
fn the_order_of_lines_says_nothing() {
    let lines = [
        "22 1 8:9 / / rw - ext4 /dev/sda9 rw",
        "23 22 0:42 / /usr ro - btrfs /dev/mapper/usr ro",
        "93 129 0:45 / /usr ro - overlay sysext ro",
        "129 23 0:51 / /usr ro - overlay sysext ro",
        "24 93 0:60 / /usr/share/oem rw - btrfs /dev/sda6 rw",
    ];
    let expected = ("/usr".to_owned(), "/dev/mapper/usr".to_owned());
    for first in 0..lines.len() {
        let mut lines = lines.to_vec();
        lines.rotate_left(first);
        assert_eq!(system(&lines.join("\n")), expected);
        lines.reverse();
        assert_eq!(system(&lines.join("\n")), expected);
    }
}

#[test]
fn a_mount_over_the_slot_is_seen_and_the_slot_is_told_as_hidden() {
    let table = table(
        "23 22 8:3 / /usr ro - ext4 /dev/sda3 ro\n\
         25 23 8:4 / /usr ro - ext4 /dev/sda4 ro\n\
         26 25 0:9 / /usr ro - overlay sysext ro\n",
    );
    let system = table.system().unwrap();
    let sources = |mounts: &[&Mount]| mounts.iter().map(|mount| mount.source_text()).collect::<Vec<_>>();
    assert_eq!(sources(&system.seen), ["/dev/sda4"]);
    assert_eq!(sources(&system.hidden), ["/dev/sda3"]);
}

#[test]
fn a_root_that_is_covered_takes_its_usr_along() {
    let lines = "20 1 8:9 / / rw - ext4 /dev/sda9 rw\n\
                 21 20 8:4 / /usr ro - ext4 /dev/sda4 ro\n\
                 30 20 8:10 / / rw - ext4 /dev/sda10 rw\n\
                 31 30 8:3 / /usr ro - ext4 /dev/sda3 ro\n\
                 32 31 0:9 / /usr ro - overlay sysext ro\n";
    assert_eq!(system(lines), ("/usr".into(), "/dev/sda3".into()));
    // With nothing to tell them apart both are seen.
    let lines = "21 20 8:4 / /usr ro - ext4 /dev/sda4 ro\n31 30 8:3 / /usr ro - ext4 /dev/sda3 ro\n";
    assert_eq!(system(lines), ("/usr".into(), "/dev/sda4 /dev/sda3".into()));
}

#[test]
fn an_overlay_on_what_the_table_does_not_show_is_refused() {
    let torn = table("99 23 0:45 / /usr ro - overlay sysext ro\n22 1 8:9 / / rw - ext4 /dev/sda9 rw\n");
    assert!(matches!(
        torn.system(),
        Err(DiscoveryError::NoParent {
            mount: 99,
            parent: 23
        })
    ));
}

/// The kernel makes no such tables; a loop would be for ever.
#[test]
fn mounts_that_lie_on_each_other_end() {
    let table = table(
        "1 2 0:1 / /usr ro - overlay a ro\n2 1 0:2 / /usr ro - overlay b ro\n3 3 0:3 / / ro - rootfs r ro\n",
    );
    let _ = table.system();
    assert_eq!(system("3 3 8:3 / / ro - ext4 /dev/sda3 ro\n").1, "/dev/sda3");
}

#[test]
fn fields_are_read_as_the_kernel_writes_them() {
    let text = b"23 22 253:0 /a\\040b /usr ro,relatime shared:1 master:2 propagate_from:3 - fuse.x /dev/\\134040\\011\\043 ro\n\
        24 22 0:3 / /mnt/\xff\xfe rw - tmpfs  rw\n\
        25 22 0:4 / /mnt/x rw - cifs \\host\\040a\\9 rw,a b\n";
    let MountTable(mounts) = MountTable::parse(text).unwrap();
    assert_eq!(
        (mounts[0].device, mounts[0].source.to_str()),
        ((253, 0), Some("/dev/\\040\t#"))
    );
    assert_eq!(mounts[1].point.as_os_str().as_bytes(), b"/mnt/\xff\xfe");
    assert_eq!(mounts[1].source, "");
    assert_eq!(mounts[2].source, "\\host a\\9");
}

#[test]
fn a_line_that_is_not_understood_spoils_the_table() {
    let good = "23 22 8:3 / /usr ro shared:1 - ext4 /dev/sda3 ro";
    for line in [
        "",
        "x y z / /usr",
        "23 22 8:3 / /usr ro shared:1",
        "23 22 8:3 / /usr ro - ext4",
        "23 22 8:3 / /usr ro - ext4 /dev/sda3",
        "23 22 8:3 / usr ro - ext4 /dev/sda3 ro",
        "23 22 83 / /usr ro - ext4 /dev/sda3 ro",
        "-1 22 8:3 / /usr ro - ext4 /dev/sda3 ro",
        "23 22 8:3 / /usr ro -  /dev/sda3 ro",
        " 23 22 8:3 / /usr ro - ext4 /dev/sda3 ro",
    ] {
        let text = format!("{good}\n{line}\n{good}\n");
        let error = MountTable::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DiscoveryError::MountLine { number: 2, .. }),
            "{line}"
        );
    }
    // Cut anywhere, the last line is not taken for another one.
    let whole = table(good);
    for length in 1..good.len() {
        let Ok(cut) = MountTable::parse(&good.as_bytes()[..length]) else {
            continue;
        };
        let without_options = |table: &MountTable| {
            let mut mounts = table.0.clone();
            for mount in &mut mounts {
                mount.options.clear();
            }
            mounts
        };
        assert_eq!(
            without_options(&cut),
            without_options(&whole),
            "only options may be cut"
        );
    }
}
