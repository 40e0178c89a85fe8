#!/bin/sh
# Tools: systemd-repart 252.39 (Debian systemd 252.39-1~deb12u2), sfdisk 2.38.1, growpart 0.33, sgdisk 1.0.9.
#
# Behaviour: a disk is enlarged; then something moves the backup table to the new end and updates AlternateLBA, but leaves LastUsableLBA
# of both headers. From then on systemd-repart and sfdisk grow the last partition by nothing and exit with 0, at every boot. growpart
# grows it. On the same disk whose backup was left where it was, all three grow it.
# One would guess: a table whose backup is at the end is the healthier one, and a tool that finds unpartitioned space uses it.
# Matters because "repairing" the backup of a grown disk while attributes are written takes away the one sign by which these tools
# notice the growth: the root file system never grows again, and nothing says so. Leave a valid backup where the primary names it,
# or raise LastUsableLBA too.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 fdisk=2.38.1-5+deb12u3 cloud-guest-utils=0.33-1 'systemd=252.39-1~deb12u2' \
  'libsystemd-shared=252.39-1~deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
PATH="$dir/root/sbin:$dir/root/usr/bin:$PATH"
repart() { LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu/systemd" root/bin/systemd-repart "$@"; }
repart --version | head -1; sfdisk --version

mkdir definitions
printf '[Partition]\nType=root-x86-64\nGrowFileSystem=off\n' >definitions/10-root.conf
last() { sgdisk -i 9 "$1" | sed -n 's/Last sector: \([0-9]*\).*/\1/p'; }

truncate -s 64M left.img
sgdisk -n 3:2048:+8M -n 9:0:0 -t 9:4f68bce3-e8cd-4db1-96e7-fbcaf984b709 left.img >/dev/null
truncate -s 96M left.img
cp left.img moved.img
python3 - moved.img <<'PYTHON'
import struct, sys, zlib
with open(sys.argv[1], 'r+b') as disk:
    last = disk.seek(0, 2) // 512 - 1
    disk.seek(512); primary = bytearray(disk.read(92))
    disk.seek(1024); entries = disk.read(16384)
    struct.pack_into('<Q', primary, 32, last)                       # AlternateLBA; LastUsableLBA (byte 48) stays
    backup = bytearray(primary)
    struct.pack_into('<QQ', backup, 24, last, 1); struct.pack_into('<Q', backup, 72, last - 32)
    for header in primary, backup:
        header[16:20] = bytes(4); header[16:20] = struct.pack('<I', zlib.crc32(header))
    disk.seek((last - 32) * 512); disk.write(entries); disk.seek(last * 512); disk.write(backup)
    disk.seek(512); disk.write(primary)
PYTHON

for state in left moved; do
  for tool in repart sfdisk growpart; do
    cp "$state.img" disk.img; status=0
    case $tool in
      repart) repart --definitions=definitions --dry-run=no disk.img >log 2>&1 || status=$? ;;
      sfdisk) echo ',+' | sfdisk -N 9 disk.img >log 2>&1 || status=$? ;;
      growpart) growpart disk.img 9 >log 2>&1 || status=$? ;;
    esac
    echo "backup $state, $tool: exit status $status, partition 9 ends at $(last disk.img)"
    case $state-$tool in moved-repart | moved-sfdisk) want=131038 ;; *) want=19[56]* ;; esac
    [ "$status" = 0 ]
    case $(last disk.img) in $want) ;; *) cat log; exit 1 ;; esac
  done
done
