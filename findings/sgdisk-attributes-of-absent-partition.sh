#!/bin/sh
# Tool: sgdisk 1.0.9 (Debian package gdisk 1.0.9-2.1).
#
# Behaviour: `sgdisk -A 7:set:56` on a disk without partition 7 exits with 0 and writes: bit 56 is set in the unused entry 7 (type
# GUID zero) of both tables. `sgdisk -v` finds no problem, `-i 7` says that the partition does not exist. A partition 7 that is
# made later inherits the bit.
# One would guess: an error, or no write; and that a new partition begins with no attributes.
# Matters because bit 56 is "successful" of a slot: a script with a wrong number plants it for a slot that has never booted. A
# reader of attributes must look at the type GUID first, and whoever makes a slot must write the whole word.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 >/dev/null 2>&1
dpkg-deb -x gdisk_*.deb root
sgdisk() { "$dir/root/sbin/sgdisk" "$@"; }
sgdisk --version | head -1

truncate -s 64M disk.img
sgdisk -n 3:2048:+8M -t 3:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6 disk.img >/dev/null
cp disk.img before.img
sgdisk -A 7:set:56 disk.img >/dev/null && echo "-A 7:set:56 without a partition 7: exit status 0"

# Entry 7 begins at byte 1024 + 6 * 128; its type is 16 bytes from there, its attributes are 8 bytes from 48 on.
type=$(od -An -tx1 -j 1792 -N 16 disk.img | tr -d ' \n')
attributes=$(od -An -tx1 -j 1840 -N 8 disk.img | tr -d ' \n')
echo "entry 7: type $type, attributes (little-endian) $attributes"
sgdisk -v disk.img | grep 'No problems found'
sgdisk -i 7 disk.img
sgdisk -n 7:0:+8M disk.img >/dev/null
made=$(sgdisk -i 7 disk.img | grep 'Attribute flags')
echo "made afterwards: $made"

[ "$type" = 00000000000000000000000000000000 ]
[ "$attributes" = 0000000000000001 ]
[ "$made" = 'Attribute flags: 0100000000000000' ]
