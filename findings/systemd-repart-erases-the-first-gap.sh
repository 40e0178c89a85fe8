#!/bin/sh
# Tools: systemd-repart 252.39 (Debian systemd 252.39-1~deb12u2), sgdisk 1.0.9.
#
# Behaviour: systemd-repart that only enlarges an existing partition also discards the gap between the table's entries and the first
# partition. On an image or a loop device the discarded bytes read as zeros afterwards. With `--discard=no` they stay.
# One would guess: growing the last partition touches that partition's entry and nothing else.
# Matters because small boards keep their boot firmware in that gap: the first boot that grows the root file system takes it away. An update
# engine that installs firmware there, or keeps anything there, must ship `--discard=no` with its repart unit.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 'systemd=252.39-1~deb12u2' 'libsystemd-shared=252.39-1~deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
repart() { LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu/systemd" root/bin/systemd-repart "$@"; }
repart --version | head -1

mkdir definitions
printf '[Partition]\nType=root-x86-64\nSizeMinBytes=1M\nGrowFileSystem=off\n' >definitions/10-root.conf
truncate -s 32M before.img
root/sbin/sgdisk -n 9:20480:0 -t 9:4f68bce3-e8cd-4db1-96e7-fbcaf984b709 before.img >/dev/null
printf 'firmware' | dd of=before.img bs=1 seek=51200 conv=notrunc status=none       # LBA 100: behind the entries, before the partition
truncate -s 64M before.img

there() { dd if="$1" bs=1 skip=51200 count=8 status=none | tr -d '\0'; }
for discard in yes no; do
  cp before.img disk.img
  repart --definitions=definitions --dry-run=no --discard=$discard disk.img >log 2>&1
  echo "--discard=$discard: partition 9 ends at $(root/sbin/sgdisk -i 9 disk.img | sed -n 's/Last sector: \([0-9]*\).*/\1/p'), in the gap: '$(there disk.img)'"
  case $discard in
    yes) [ -z "$(there disk.img)" ] ;;
    no) [ "$(there disk.img)" = firmware ] ;;
  esac
done
