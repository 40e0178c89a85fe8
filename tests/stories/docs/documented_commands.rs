//! Commands of `docs`, typed as they stand there.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::document::{SYSTEMCTL, blocks, command, document, run, shell};
use test_support::fixtures;

/// A machine whose `/etc` and `/opt` are in a directory.
fn typed(block: &str, machine: &Path) -> String {
    let mut block = block.to_owned();
    for place in ["/etc/", "/opt/"] {
        block = block.replace(place, &format!("{}{place}", machine.display()));
    }
    run(command(&block, machine, &[SYSTEMCTL]))
}

#[test]
fn the_page_about_payloads_can_be_followed_from_its_top_to_its_end() {
    let desk = TempDir::new().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(desk.path().join(name), bytes).unwrap();
    let (old, new) = (fixtures::image("old.img"), fixtures::image("new.img"));
    let (old, new) = (&old[..1 << 20], &new[..1 << 20]);
    for (name, image) in [
        ("usr.img", new),
        ("usr-1.img", old),
        ("usr-2.img", new),
        ("old.img", old),
    ] {
        put(name, image);
    }
    let kernel = vec![7; 70_000];
    for name in ["vmlinuz", "vmlinuz-1", "vmlinuz-2"] {
        put(name, &kernel);
    }
    let pages = shell(&document("payloads.md"));
    let (served, followed): (Vec<_>, Vec<_>) = pages
        .into_iter()
        .partition(|block| block.starts_with("update_payload serve"));
    assert_eq!((served.len(), followed.len()), (1, 6));
    for block in followed {
        run(command(&block, desk.path(), &[]));
    }
    assert!(fs::read(desk.path().join("new.img")).unwrap() == new);
    assert!(fs::read(desk.path().join("vmlinuz.new")).unwrap() == kernel);
    assert!(
        fs::read_to_string(desk.path().join("map.svg"))
            .unwrap()
            .contains("<svg")
    );
}

#[test]
fn a_servers_operator_gets_the_sums_of_a_payload() {
    let desk = TempDir::new().unwrap();
    fs::write(desk.path().join("update.payload"), b"abc").unwrap();
    // Below an item of a list, which is indented.
    let text = document("operating.md").replace("\n   ", "\n");
    let block = shell(&text)
        .into_iter()
        .find(|block| block.contains("openssl dgst"))
        .unwrap();
    let sums = "3\nqZk+NkcGgWq6PiVxeFDCbJzQ2J0=\nungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=\n";
    assert_eq!(run(command(&block, desk.path(), &[])), sums);
}

#[test]
fn a_disk_for_the_loader_has_a_good_slot_and_an_empty_one() {
    let desk = TempDir::new().unwrap();
    let block = blocks("loader.md", "A new disk").remove(0);
    run(command(&block, desk.path(), &[]));
    let attributes = |slot: u8| {
        let show = format!("for FIELD in P T S; do cgpt show -i {slot} -$FIELD disk.img; done");
        run(command(&show, desk.path(), &[]))
    };
    assert_eq!(
        (attributes(3).as_str(), attributes(4).as_str()),
        ("1\n0\n1\n", "0\n0\n0\n")
    );
}

#[test]
fn a_proxy_is_set_for_the_service() {
    let machine = TempDir::new().unwrap();
    let said = typed(&blocks("operating.md", "Proxies").remove(0), machine.path());
    assert_eq!(said, "systemctl daemon-reload\nsystemctl restart update-engine\n");
    let unit = machine
        .path()
        .join("etc/systemd/system/update-engine.service.d/proxy.conf");
    let expected = "[Service]\nEnvironment=ALL_PROXY=http://proxy.example:3128\n";
    assert_eq!(fs::read_to_string(unit).unwrap(), expected);
}

#[test]
fn a_daemon_beside_the_original_comes_and_goes_by_a_drop_in() {
    let machine = TempDir::new().unwrap();
    fs::write(machine.path().join("update_engine"), "the program").unwrap();
    let again = "systemctl daemon-reload\nsystemctl restart update-engine\n";
    let units = machine.path().join("etc/systemd/system/update-engine.service.d");
    let beside = blocks("installing.md", "Beside the original, on one node").remove(0);
    assert_eq!(typed(&beside, machine.path()), again);
    let drop_in = fs::read_to_string(units.join("10-rust.conf")).unwrap();
    let program = machine.path().join("opt/bin/update_engine");
    let start = format!("\nExecStart={} -foreground -logtostderr\n", program.display());
    assert!(
        drop_in.starts_with("[Service]\nExecStart=\n") && drop_in.ends_with(&start),
        "{drop_in}"
    );
    assert!(program.exists());
    assert_eq!(
        typed(
            &blocks("installing.md", "Back to the original").remove(0),
            machine.path()
        ),
        again
    );
    assert_eq!(fs::read_dir(units).unwrap().count(), 0);
}
