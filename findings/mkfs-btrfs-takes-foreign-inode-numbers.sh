#!/bin/sh
# Tool: mkfs.btrfs of btrfs-progs 6.2 (Debian package 6.2-1+deb12u2). Needs root, for mounts.
#
# Behaviour: `mkfs.btrfs --rootdir` gives each file the inode number and the count of links that it has on the builder's file system, and
# exits with 0. A file whose other name lies outside the tree (a cache from which the tree was hard-linked) is an error of `btrfs check`,
# "link count wrong". Two directories of the tree that are mounts, here two tmpfs, have the same number and become one directory with two
# names: it holds the file of one of them, and the other one's file, of the same number, is in neither.
# One would guess: an image numbers its own inodes.
# Matters because trees of images are put together from hard-linked caches and from mounts, and nobody checks a fresh image: it is hashed,
# signed and shipped, with files missing and others where the build never put them. Copy the tree into one file system first, without hard
# links to elsewhere. As the numbers come from the builder, two copies of a tree make two images, whatever UUID and time one gives.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root btrfs-progs=6.2-1+deb12u2 liblzo2-2=2.10-2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu"
PATH="$dir/root/bin:$dir/root/usr/bin:$PATH"
mkfs.btrfs --version

entries() { btrfs inspect-internal dump-tree -t 5 image | awk -v kind="$1" '/ DIR_INDEX / { getline; if ($NF == kind) print $3 }'; }
{
  mkdir cache tree
  echo library >cache/library
  ln cache/library tree/library
  truncate -s 256M image
  mkfs.btrfs -q --rootdir tree image >log 2>&1
  echo "a file with another name outside the tree: $(btrfs check image 2>&1 | grep -o 'link count wrong')"
} >seen

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
rm -r tree image; mkdir -p tree/bin tree/data
mount -t tmpfs tmpfs tree/bin; mount -t tmpfs tmpfs tree/data
echo tool >tree/bin/tool; echo sample >tree/data/sample
truncate -s 256M image
mkfs.btrfs -q --rootdir tree image >log 2>&1
INSIDE
unshare --mount sh inside.sh
{
  echo "two directories on two file systems: $(entries DIR | wc -l) names for $(entries DIR | sort -u | wc -l) inode"
  echo "their two files: $(entries FILE | wc -l) left"
} >>seen
cat seen
diff seen - <<'END'
a file with another name outside the tree: link count wrong
two directories on two file systems: 2 names for 1 inode
their two files: 1 left
END
