#!/bin/sh
# Tool: cgpt of Debian (package cgpt 0~R106-15054.B-1), with sgdisk 1.0.9 to make the table.
#
# Behaviour: on a disk that was enlarged, `cgpt repair` calls the backup invalid and writes a backup in the new last sector, but the
# primary goes on naming the old place (AlternateLBA), and the old backup stays there, valid: three tables. A later `cgpt add`
# changes the primary and the new backup only. The copy that the primary names is now stale, and still valid by its checksums.
# One would guess: repair moves the backup and corrects the primary, as `sgdisk -e` does.
# Matters because a reader that follows the primary's AlternateLBA finds the slots' attributes as they were before: after a torn
# primary it would boot by them. A daemon that runs beside scripts with cgpt has to compare three places, not two.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 'cgpt=0~R106-15054.B-1' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
sgdisk() { "$dir/root/sbin/sgdisk" "$@"; }
cgpt() { "$dir/root/usr/bin/cgpt" "$@"; }
echo 'cgpt 0~R106-15054.B-1'

truncate -s 64M disk.img
sgdisk -n 3:2048:+8M -t 3:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6 disk.img >/dev/null
truncate -s 96M disk.img                      # last sector: 131071 before, 196607 now
cgpt repair disk.img

field() { od -An -tu8 -j $(($1 * 512 + 32)) -N 8 disk.img | tr -d ' '; }    # AlternateLBA of the header in that sector
entries() { od -An -tx4 -j $(($1 * 512 + 88)) -N 4 disk.img | tr -d ' '; }  # checksum of its entries
magic() { dd if=disk.img bs=512 skip="$1" count=1 2>/dev/null | head -c 8; }
echo "primary names $(field 1); headers: at 131071 $(magic 131071), at 196607 $(magic 196607)"
[ "$(field 1)" = 131071 ]
[ "$(magic 131071)" = 'EFI PART' ] && [ "$(magic 196607)" = 'EFI PART' ]

cgpt add -i 3 -S 1 -T 0 -P 1 disk.img 2>/dev/null
echo "after add: primary $(entries 1), last sector $(entries 196607), the one that the primary names $(entries 131071)"
[ "$(entries 1)" = "$(entries 196607)" ]
[ "$(entries 1)" != "$(entries 131071)" ]
