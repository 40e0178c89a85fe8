#!/bin/sh
# Tools: GRUB 2.06 (grub-fstest of Debian's grub-common 2.06-13+deb12u2, which reads images with the loader's own drivers), the running kernel,
# e2fsprogs 1.47.0, xfsprogs 6.1.0, btrfs-progs 6.2. Needs root, for mounts.
#
# Behaviour: a new kernel is written beside the old one, renamed over it, and fsync was called on file and directory. Cut the power: Linux
# mounts the file system and has the new one. GRUB, which comes first, has the old one, and none of a file that is new. On ext4 and btrfs
# `sync --file-system` is enough for GRUB. On XFS neither that nor any number of `sync` is: only unmounting or fsfreeze.
# One would guess: what fsync kept is there for every reader, and after `sync` at the latest it is in its place.
# Matters because fsync writes a journal, and loaders don't read journals: an updater that puts a kernel on such a file system and then
# switches a slot, in the partition table or in another file, has a switch that the loader sees and a kernel that it doesn't see, and the try
# is spent on it. Put kernels on FAT, or freeze and thaw the file system before the switch.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d)
trap 'umount "$dir/mnt" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root grub-common=2.06-13+deb12u2 e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 xfsprogs=6.1.0-1 libinih1=55-1 \
  liburcu8=0.13.2-1 btrfs-progs=6.2-1+deb12u2 libdevmapper1.02.1=2:1.02.185-2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir mnt
own() { LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" "$dir/root/$@"; }
grub() { own usr/bin/grub-fstest cut cat "$1" 2>/dev/null || echo none; }

# A file system, how it is synced, and what is read of the image as it is at that moment.
cut_after() {
  rm -f disk; truncate -s 320M disk
  case $1 in
    ext4) own sbin/mkfs.ext4 -q -F disk ;;
    xfs) own sbin/mkfs.xfs -q -f disk ;;
    btrfs) own sbin/mkfs.btrfs -q -f disk ;;
  esac >/dev/null 2>&1
  mount -o loop disk mnt; echo old >mnt/kernel; umount mnt
  mount -o loop disk mnt
  echo new >mnt/kernel.new; sync mnt/kernel.new; mv mnt/kernel.new mnt/kernel; echo second >mnt/second
  case $2 in
    fsync) sync mnt/kernel mnt/second mnt ;;
    syncfs) sync --file-system mnt ;;
    sync) sync; sync; sync ;;
    freeze) fsfreeze --freeze mnt; fsfreeze --unfreeze mnt ;;
  esac
  cp disk cut; umount mnt
  seen="GRUB: $(grub /kernel), $(grub /second)"
  mount -o loop cut mnt; echo "$1, $2: $seen; Linux: $(cat mnt/kernel), $(cat mnt/second)"; umount mnt
}
own usr/bin/grub-fstest --version; uname -sr
for kind in ext4 btrfs xfs; do for way in fsync syncfs sync freeze; do cut_after $kind $way; done; done >seen
cat seen
diff seen - <<'SEEN'
ext4, fsync: GRUB: old, none; Linux: new, second
ext4, syncfs: GRUB: new, second; Linux: new, second
ext4, sync: GRUB: new, second; Linux: new, second
ext4, freeze: GRUB: new, second; Linux: new, second
btrfs, fsync: GRUB: old, none; Linux: new, second
btrfs, syncfs: GRUB: new, second; Linux: new, second
btrfs, sync: GRUB: new, second; Linux: new, second
btrfs, freeze: GRUB: new, second; Linux: new, second
xfs, fsync: GRUB: old, none; Linux: new, second
xfs, syncfs: GRUB: old, none; Linux: new, second
xfs, sync: GRUB: old, none; Linux: new, second
xfs, freeze: GRUB: new, second; Linux: new, second
SEEN
