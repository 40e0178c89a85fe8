#!/bin/sh
# Tools: mksquashfs 4.5.1, mkfs.erofs 1.5, mkfs.ext4 1.47.0 and mkfs.btrfs 6.2 (Debian 12's packages), run as a user that isn't root.
#
# Behaviour: one file of the tree can't be read by who builds the image (mode 0000, or 0600 of another user). mksquashfs puts an empty file
# of that name, owner and mode in its place, says so on standard error, and exits with 0. The other three refuse, with status 1 and no
# finished image; `mksquashfs -exit-on-error` does, too.
# One would guess: an image that doesn't hold what it was made from is a failed build.
# Matters because the image is then hashed, signed and shipped, and every check on the node confirms it: a build that moves from root to an
# ordinary user loses /etc/shadow, the keys or the set-uid programs that only root may read, and the fleet is the first to notice.
set -eu
dir=$(mktemp -d); chmod 755 "$dir"; trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root squashfs-tools=1:4.5.1-1 erofs-utils=1.5-1 e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 \
  libcom-err2=1.47.0-2+b2 libss2=1.47.0-2+b2 btrfs-progs=6.2-1+deb12u2 liblzo2-2=2.10-2 liblz4-1=1.9.4-1 libselinux1=3.4-1+b6 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
chmod -R a+rX root
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" MKE2FS_CONFIG="$dir/root/etc/mke2fs.conf"
PATH="$dir/root/usr/bin:$dir/root/usr/sbin:$dir/root/sbin:$dir/root/bin:$PATH"
as_user() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; else "$@"; fi; }

mkdir tree images
echo public >tree/public
echo secret >tree/shadow
chmod 0000 tree/shadow
[ "$(id -u)" != 0 ] || chown -R 65534:65534 tree images
cd images
truncate -s 16M ext4 btrfs
chmod 666 ext4 btrfs
built() { name=$1; shift; status=0; as_user "$@" >../log 2>&1 || status=$?; grep -q shadow ../log && echo "$name: status $status"; }
{
  built mksquashfs mksquashfs ../tree squashfs -quiet -no-progress
  unsquashfs -lln squashfs | awk '/shadow/ { print "  shadow in it: mode " $1 ", " $3 " bytes" }'
  built 'mksquashfs -exit-on-error' mksquashfs ../tree squashfs2 -quiet -no-progress -exit-on-error
  built mkfs.erofs mkfs.erofs erofs ../tree
  built mkfs.ext4 mkfs.ext4 -q -d ../tree ext4
  truncate -s 256M btrfs
  built mkfs.btrfs mkfs.btrfs -q --rootdir ../tree btrfs
} >../seen
mksquashfs -version | head -1
cat ../seen
diff ../seen - <<'END'
mksquashfs: status 0
  shadow in it: mode ----------, 0 bytes
mksquashfs -exit-on-error: status 1
mkfs.erofs: status 1
mkfs.ext4: status 1
mkfs.btrfs: status 1
END
