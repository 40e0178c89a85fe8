#!/bin/sh
# Tools: zstd 1.5.4 and lz4 1.9.4, with xz 5.4.1 and gzip 1.12 beside them (Debian 12's packages). Needs root, for a loop device.
#
# Behaviour: `zstd -d IMAGE.zst -o DEVICE` and `lz4 -d IMAGE.lz4 DEVICE` end with 0 and skip long runs of zeros also where the output is a
# block device: what it held before stays there. Of an image of 16 MiB with 1 MB of data, 15 MB of the slot are the old ones. With
# --no-sparse, or through standard output, each zero is written. xz and gzip write a device by standard output only, and write it all.
# One would guess: holes are made in regular files; a device, which can have none, gets every byte, as `cp --sparse=always` does it.
# Matters because -o is the shortest line that puts an image into a slot, and the decompressor has checked the image's checksum. The first
# time, on a new disk, it is right. The second image over it fails dm-verity, or has the old one's bytes where its files have zeros. Write
# `zstd -dc | dd`, and read back what was written.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); loop=
trap '[ -z "$loop" ] || losetup --detach "$loop"; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root zstd=1.5.4+dfsg2-5 lz4=1.9.4-1 liblz4-1=1.9.4-1 xz-utils=5.4.1-1+deb12u2 gzip=1.12-1 \
  coreutils=9.1-1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu"; export LD_LIBRARY_PATH
PATH="$dir/root/usr/bin:$dir/root/bin:$PATH"
for tool in zstd lz4 xz gzip cp; do "$tool" --version | grep -o -m 1 '^.*[0-9]'; done

truncate -s 16M image slot
head -c 1000000 /dev/urandom | dd of=image bs=1M seek=7 conv=notrunc status=none
zstd -q image -o image.zst; lz4 -q image image.lz4; xz -k image; gzip -k image
loop=$(losetup --find --show slot)
# Writes the image into a slot that held another one.
into() {
  head -c 16777216 /dev/urandom >"$loop"
  status=0; sh -c "$1" slot "$loop" </dev/null >said 2>&1 || { status=$?; cat said; }
  sync "$loop"
  if cmp -s image "$loop"; then slot='the image'; else slot="$(cmp -l image "$loop" | wc -l | sed 's/......$//') MB of what was there before"; fi
  echo "$1: status $status, the slot holds $slot"
}
{
  into 'zstd -q -d -f image.zst -o "$1"'
  into 'zstd -q -d -f --no-sparse image.zst -o "$1"'
  into 'zstd -q -d -c image.zst >"$1"'
  into 'lz4 -q -d -f image.lz4 "$1"'
  into 'lz4 -q -d -f --no-sparse image.lz4 "$1"'
  into 'xz -d -c image.xz >"$1"'
  into 'gzip -d -c image.gz >"$1"'
  into 'cp --sparse=always image "$1"'
} >seen
cat seen
diff seen - <<'SEEN'
zstd -q -d -f image.zst -o "$1": status 0, the slot holds 15 MB of what was there before
zstd -q -d -f --no-sparse image.zst -o "$1": status 0, the slot holds the image
zstd -q -d -c image.zst >"$1": status 0, the slot holds the image
lz4 -q -d -f image.lz4 "$1": status 0, the slot holds 15 MB of what was there before
lz4 -q -d -f --no-sparse image.lz4 "$1": status 0, the slot holds the image
xz -d -c image.xz >"$1": status 0, the slot holds the image
gzip -d -c image.gz >"$1": status 0, the slot holds the image
cp --sparse=always image "$1": status 0, the slot holds the image
SEEN
