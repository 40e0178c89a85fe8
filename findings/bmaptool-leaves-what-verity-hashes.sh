#!/bin/sh
# Tools: bmaptool 3.6, veritysetup 2.6.1, mke2fs 1.47.0 (Debian 12's packages). Needs root, for loop devices.
#
# Behaviour: `bmaptool copy` writes the blocks of a map, checks each range of it against the map's SHA-256, and exits with 0. Holes of the
# image aren't in the map: where they are, the device keeps what it held. An image written into a slot that had another one before fails
# `veritysetup verify` with the root hash that was computed from the image; into a device of zeros it passes. `dd` of the same image passes.
# One would guess: a copy whose checksums were verified, block by block, is the image.
# Matters because a slot is never empty but the first time: the first update of every machine works, in the factory and in the test, and
# the second one boots into I/O errors, or into a health check that can't say why. An image that is hashed as a whole needs all its bytes
# written: discard the slot where discarded blocks read as zeros, or copy without a map.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); loop=
trap '[ -z "$loop" ] || losetup --detach "$loop"; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root bmap-tools=3.6-2 cryptsetup-bin=2:2.6.1-4~deb12u2 libcryptsetup12=2:2.6.1-4~deb12u2 \
  e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 libcom-err2=1.47.0-2+b2 libss2=1.47.0-2+b2 libdevmapper1.02.1 libpopt0 libargon2-1 libjson-c5 \
  >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" MKE2FS_CONFIG="$dir/root/etc/mke2fs.conf"
export PYTHONPATH="$dir/root/usr/lib/python3/dist-packages"
bmaptool() { python3 "$dir/root/usr/bin/bmaptool" --quiet "$@"; }
veritysetup() { "$dir/root/sbin/veritysetup" "$@"; }

mkdir tree
head -c 1000000 /dev/urandom >tree/program
truncate -s 16M image
root/sbin/mke2fs -q -t ext4 -O ^has_journal -d tree image
cp --sparse=always image sparse
veritysetup format sparse hashes --root-hash-file=root-hash >/dev/null
bmaptool create sparse -o map

# Verifies a copy in a slot of zeros, and in one that held another image.
into() {
  truncate -s 0 slot; truncate -s 16M slot
  [ "$2" = zeros ] || head -c 16777216 /dev/urandom >slot
  loop=$(losetup --find --show slot)
  status=0; "$1" || status=$?
  losetup --detach "$loop"; loop=
  verified=0; veritysetup verify slot hashes --root-hash-file=root-hash >/dev/null 2>&1 || verified=$?
  echo "$1 into a slot of $2: status $status, veritysetup verify $verified"
}
by_map() { bmaptool copy --bmap map sparse "$loop"; }
by_dd() { dd if=sparse of="$loop" bs=1M conv=fsync status=none; }
veritysetup --version
python3 "$dir/root/usr/bin/bmaptool" --version
{
  into by_map zeros
  into by_map 'another image'
  into by_dd 'another image'
} >seen
cat seen
diff seen - <<'END'
by_map into a slot of zeros: status 0, veritysetup verify 0
by_map into a slot of another image: status 0, veritysetup verify 2
by_dd into a slot of another image: status 0, veritysetup verify 0
END
