#!/bin/sh
# Tools: sgdisk 1.0.9, sfdisk 2.38.1, growpart 0.33, cgpt 0~R106-15054.B-1 (all of Debian 12).
#
# Behaviour: UEFI allows entries of 128 * 2^n bytes. Of a sound table with 256-byte entries sgdisk warns that it only knows 128, then
# says "No problems found" and lists no partition at all; any edit (here one attribute) writes that empty table over both copies and
# exits with 0. sfdisk reads it rightly and keeps the size. growpart exits with 0 and leaves a table with 128-byte entries. cgpt calls it invalid,
# as it does a table of 56 entries, which the other three read.
# One would guess: whoever can't read an entry size refuses to write.
# Matters because a node's repair script with sgdisk destroys both slots of such a table; and because "sgdisk -v is happy" proves nothing
# here. Check SizeOfPartitionEntry before any other tool touches the table.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 fdisk=2.38.1-5+deb12u3 cloud-guest-utils=0.33-1 'cgpt=0~R106-15054.B-1' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
PATH="$dir/root/sbin:$dir/root/usr/bin:$PATH"
sgdisk --version | head -1; sfdisk --version

cat >make.py <<'PYTHON'
import struct, sys, uuid, zlib
path, number, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
last, entries = 131071, bytearray(number * size)
for index, first, end in (3, 2048, 18431), (4, 18432, 34815):
    at = (index - 1) * size
    entries[at:at + 56] = uuid.UUID('5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6').bytes_le + uuid.UUID(int=index).bytes_le + struct.pack('<QQQ', first, end, 0)
sectors = (len(entries) + 511) // 512
with open(path, 'wb') as disk:
    disk.truncate((last + 1) * 512)
    disk.seek(446); disk.write(struct.pack('<8BII', 0, 0, 2, 0, 0xee, 255, 255, 255, 1, last)); disk.seek(510); disk.write(b'\x55\xaa')
    for here, other, table in (1, last, 2), (last, 1, last - sectors):
        header = bytearray(struct.pack('<8sIIIIQQQQ16sQIII', b'EFI PART', 0x10000, 92, 0, 0, here, other, 2 + sectors, last - sectors - 1,
                                       uuid.UUID(int=9).bytes_le, table, number, size, zlib.crc32(entries)))
        header[16:20] = struct.pack('<I', zlib.crc32(header))
        disk.seek(table * 512); disk.write(entries); disk.seek(here * 512); disk.write(header)
PYTHON
entry_size() { od -An -tu4 -j 596 -N 4 "$1" | tr -d ' '; }
partitions() { sfdisk -d "$1" 2>/dev/null | grep -c 'start=' || true; }

python3 make.py wide.img 128 256; python3 make.py few.img 56 128
echo "sfdisk: $(partitions wide.img) partitions with 256-byte entries, $(partitions few.img) with 56 entries"
[ "$(partitions wide.img)$(partitions few.img)" = 22 ]
sgdisk -v wide.img 2>/dev/null | grep 'No problems found'
cp wide.img one.img; sgdisk -A 3:set:56 one.img >/dev/null 2>&1 && echo "sgdisk -A: exit status 0, $(partitions one.img) partitions left"
[ "$(partitions one.img)" = 0 ]
cp wide.img two.img; sfdisk --part-attrs two.img 3 GUID:56 >/dev/null && echo "sfdisk --part-attrs: entry size $(entry_size two.img)"
[ "$(entry_size two.img)" = 256 ] && [ "$(partitions two.img)" = 2 ]
cp wide.img three.img; growpart three.img 4 >/dev/null && echo "growpart: entry size $(entry_size three.img)"
[ "$(entry_size three.img)" = 128 ] && [ "$(partitions three.img)" = 2 ]
for image in wide few; do
  said=$(cgpt show -i 3 -S $image.img 2>&1) && exit 1 || true
  echo "cgpt, $image.img: $(echo "$said" | tail -1)"
done
