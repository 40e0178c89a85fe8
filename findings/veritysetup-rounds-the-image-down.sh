#!/bin/sh
# Tools: veritysetup 2.6.1, mksquashfs and unsquashfs 4.5.1 (Debian 12's packages).
#
# Behaviour: an image whose length isn't a multiple of the data block size (4,096 bytes by default). `veritysetup format` hashes the whole
# blocks and leaves out what comes after them, without a word, and `veritysetup verify` ends with 0. The number of blocks is the length of
# the device that dm-verity makes, so that a file system that needs its last bytes is cut: a squashfs made with -nopad, whose tables are at
# its end, can't be read any more.
# One would guess: the last block is filled up with zeros, or format refuses.
# Matters because image and hashes are made and verified at the build, where the image is a file that has all its bytes; the first thing that
# sees the shorter device is the boot. Fill images up to the block size before they are hashed (mksquashfs does unless told not to), and
# compare "Data blocks" times the block size with the image's length.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root squashfs-tools=1:4.5.1-1 cryptsetup-bin=2:2.6.1-4~deb12u2 libcryptsetup12=2:2.6.1-4~deb12u2 \
  liblzo2-2=2.10-2 liblz4-1=1.9.4-1 libdevmapper1.02.1 libpopt0 libargon2-1 libjson-c5 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu"
PATH="$dir/root/usr/bin:$dir/root/sbin:$PATH"

mkdir tree
head -c 300000 /dev/urandom >tree/program
for number in $(seq 50); do echo "$number" >"tree/file$number"; done
reads() { unsquashfs -lc "$1" >/dev/null 2>log && echo 'can be read' || echo "can't be read"; }
hashed() {
  mksquashfs tree image -quiet -no-progress -noappend "$@"
  blocks=$(veritysetup format image hashes --root-hash-file=root-hash 2>log | awk '/^Data blocks/ { print $3 }')
  verified=0; veritysetup verify image hashes --root-hash-file=root-hash 2>>log || verified=$?
  [ ! -s log ] && complaints=none || complaints=some
  head -c $((blocks * 4096)) image >device
  left=$(($(stat -c %s image) - blocks * 4096))
  echo "${*:-padded}: complaints $complaints, verify $verified, bytes left out: $([ $left = 0 ] && echo none || echo some)"
  echo "  the image $(reads image), its hashed blocks $(reads device)"
}
veritysetup --version
mksquashfs -version | head -1
{ hashed; hashed -nopad; } >seen
cat seen
diff seen - <<'END'
padded: complaints none, verify 0, bytes left out: none
  the image can be read, its hashed blocks can be read
-nopad: complaints none, verify 0, bytes left out: some
  the image can be read, its hashed blocks can't be read
END
