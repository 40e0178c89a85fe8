#!/bin/sh
# Tool: casync 2+20201210 (Debian package casync 2+20201210-1+b1).
#
# Behaviour: `casync extract INDEX FILE` over an older, longer image writes the new bytes and leaves the file as long as it was: the end of the old
# image stays behind the new one, status 0, not a word. `casync digest` of that file isn't the digest that `make` gave for the index. Of a
# tree, extracted over an older one, whatever isn't in the new one is removed.
# One would guess: what was extracted is what `make` was given; a file is cut to its length, as a tree is.
# Matters where the image is a file (a system extension, an image for a virtual machine, a slot on a file system) that is renewed in place to reuse
# its chunks: what has shrunk fails its hash from then on; and where nothing compares hashes, a reader that looks
# at the end (the backup partition table, a signature that was appended) finds the old image's. Extract to a new name with the old
# file as --seed, or cut the file first.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq casync=2+20201210-1+b1 libfuse2=2.9.9-6+b1 gdisk=1.0.9-2.1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
casync() { LD_LIBRARY_PATH="$dir/root/lib/x86_64-linux-gnu" root/usr/bin/casync --store=store "$@"; }
sgdisk() { root/sbin/sgdisk "$@" 2>/dev/null; }
dpkg-deb -f casync_*.deb Package Version | xargs

# Two versions of a disk image: 8 MiB with a partition "one", and 6 MiB with "two".
for version in one two; do
  [ $version = one ] && size=8 || size=6
  head -c ${size}M /dev/urandom >$version
  sgdisk -Z $version >/dev/null || true
  sgdisk -n 1:2048:+4M -c 1:$version $version >/dev/null
done
digest_one=$(casync make one.caibx one); digest_two=$(casync make two.caibx two)
casync extract one.caibx image
[ "$(casync digest image)" = "$digest_one" ] && cmp one image && echo 'one: as it was made'
again() {
  casync extract two.caibx "$1" >said 2>&1 && status=0 || status=$?
  [ "$(casync digest "$1")" = "$digest_two" ] && same='the digest of the index' || same='another digest'
  echo "two over $2: status $status, it says '$(cat said)', $(wc -c <"$1") bytes, $same"
}
{
  again image 'one'
  cmp -n 6291456 two image && echo 'its first 6 MiB are two'
  # The last 33 sectors: what a tool takes for the backup table.
  tail -c 16896 image | tr -d '\0' | grep -aq one && echo 'its backup table is that of one'
  again new 'nothing'
  mkdir tree-one tree-two; echo 1 >tree-one/only-in-one; echo 2 >tree-two/only-in-two
  casync make one.caidx tree-one >/dev/null; casync make two.caidx tree-two >/dev/null
  casync extract one.caidx tree; casync extract two.caidx tree; echo "a tree over another: $(ls tree)"
} >seen
cat seen
diff seen - <<'SEEN'
two over one: status 0, it says '', 8388608 bytes, another digest
its first 6 MiB are two
its backup table is that of one
two over nothing: status 0, it says '', 6291456 bytes, the digest of the index
a tree over another: only-in-two
SEEN
