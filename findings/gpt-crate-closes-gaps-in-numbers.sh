#!/bin/sh
# Tools: Rust crates gpt 4.1.0 and gptman 1.1.4, with sgdisk 1.0.9 (Debian package gdisk 1.0.9-2.1) to make and read the table.
#
# Behaviour: of a disk with the partitions 1, 2, 3, 4, 6, 7 and 9 one attribute bit of number 4 is set. `gpt` opens it with these numbers,
# and after `update_partitions` and `write` the disk has 1 to 7: those behind a gap move up, with their GUIDs and places unchanged. Both
# calls succeed, and `sgdisk -v` finds nothing wrong. `gptman` keeps the numbers.
# One would guess: entries whose numbers were read, and are the keys of the map that is given back, keep their numbers.
# Matters because this layout is Flatcar's, whose root file system is number 9: whatever names a partition by number (/dev/sda9, a loader's
# hd0,gpt3, growpart's argument) names another one after a library has set a slot's attributes.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 >/dev/null 2>&1
dpkg-deb -x gdisk_*.deb root
sgdisk() { "$dir/root/sbin/sgdisk" "$@"; }
numbers() { sgdisk -p disk | awk '$1 ~ /^[0-9]+$/ { printf "%s ", $1 }'; }
mkdir src
cat >Cargo.toml <<'END'
[package]
name = "attribute"
version = "0.1.0"
edition = "2021"
[dependencies]
gpt = "=4.1.0"
gptman = "=1.1.4"
END
cat >src/main.rs <<'END'
fn main() {
    let library = std::env::args().nth(1);
    if library.as_deref() == Some("gpt") {
        let mut disk = gpt::GptConfig::new().writable(true).open("disk").unwrap();
        let mut partitions = disk.partitions().clone();
        partitions.get_mut(&4).unwrap().flags |= 1 << 56;
        disk.update_partitions(partitions).unwrap();
        disk.write().unwrap();
    } else {
        let mut file = std::fs::File::options().read(true).write(true).open("disk").unwrap();
        let mut table = gptman::GPT::find_from(&mut file).unwrap();
        table[4].attribute_bits |= 1 << 56;
        table.write_into(&mut file).unwrap();
    }
}
END
cargo build --quiet
for library in gptman gpt; do
  rm -f disk; truncate -s 64M disk
  sgdisk -n1::+1M -n2::+1M -n3::+4M -n4::+4M -n6::+1M -n7::+1M -n9::+8M disk >/dev/null
  target/debug/attribute "$library"
  sgdisk -v disk | grep 'No problems'
  sgdisk -i4 disk | grep -q 'flags: 01000'
  numbers | tee "$library"; echo "after $library"
done
[ "$(cat gptman)" = '1 2 3 4 6 7 9 ' ] && [ "$(cat gpt)" = '1 2 3 4 5 6 7 ' ]
