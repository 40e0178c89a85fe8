#!/bin/sh
# Tool: systemd-sysupdate 257.13 (Debian 13's systemd-container 257.13-1~deb13u1), with GPT attributes as ChromeOS' loaders and GRUB's gptprio
# read them (bits 48 to 51 priority, 52 to 55 tries, 56 successful). Needs root, for mounts and a loop device.
#
# Behaviour: a partition that is emptied for a new version keeps all of these bits, and the new version in it has them, too: what never
# booted is "successful", with the priority and tries of the version before. Only name and contents change; the type, which 257 could use to
# hide what is half written, stays the same as well.
# One would guess: an emptied partition can't be booted, and a new version begins without the old one's verdict.
# Matters because sysupdate does the same job as an update engine's install, and its tables are met where a node moves from one to the other:
# beside a loader that goes by attributes, half-written and untried contents boot as good ones. Whoever writes into such a partition must
# clear the bits first and on both copies of the table, and must not take `successful` for a verdict on what lies there.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

mkdir -p apt/sources.list.d apt/preferences.d apt/trusted.gpg.d state/lists/partial cache/archives/partial debs own root
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
  if [ -f "$file" ]; then sed 's/bookworm/trixie/g' "$file" >"apt${file#/etc/apt}"; fi
done
options="-qq -o Dir::Etc=$dir/apt -o Dir::State=$dir/state -o Dir::Cache=$dir/cache -o Dir::State::status=/dev/null"
apt-get $options update >/dev/null 2>&1
for package in systemd=257.13-1~deb13u1 systemd-container=257.13-1~deb13u1 libsystemd-shared=257.13-1~deb13u1 libc6 libcap2 libmount1 libblkid1 \
  libselinux1 libpcre2-8-0 libcrypt1 libacl1 libaudit1 libcap-ng0 libseccomp2 libpam0g libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libkmod2 \
  libssl3t64 libapparmor1 zlib1g libfdisk1 libuuid1 libudev1 libcurl4t64 libcurl3t64-gnutls libbz2-1.0; do
  (cd debs && apt-get $options -o APT::Sandbox::User=root download "$package" >/dev/null 2>&1)
done
(cd own && apt-get -qq -o APT::Sandbox::User=root download gdisk=1.0.9-2.1 >/dev/null 2>&1 && dpkg-deb -x gdisk_*.deb .)
mkdir -p root/usr/bin root/usr/lib root/usr/lib64 root/usr/sbin
for each in bin lib lib64 sbin; do ln -s "usr/$each" "root/$each"; done
for package in debs/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C root; done

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
sgdisk=$PWD/own/sbin/sgdisk root=$PWD/root usr=8484680C-9521-48C6-9C11-B0720656F69E
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/sys" "$root/tmp" "$root/src" "$root/etc/sysupdate.d"
mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/run"; mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
truncate -s 64M disk
{
  "$sgdisk" -n 1:2048:+16M -t "1:$usr" -c 1:img_1 -n 2:0:+16M -t "2:$usr" -c 2:img_2 disk
  # Priority 1 and 2, no tries, successful.
  "$sgdisk" -A 1:set:48 -A 1:set:56 -A 2:set:49 -A 2:set:56 disk
} >/dev/null 2>&1
device=$(losetup -f --show disk)
trap 'losetup -d "$device"' EXIT
printf 'ID=debian\nIMAGE_VERSION=2\n' >"$root/usr/lib/os-release"
head -c 17M /dev/urandom >"$root/src/img_3.raw"
printf '[Transfer]\nVerify=no\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=img_@v.raw\n[Target]\nType=partition\nPath=%s\nMatchPattern=img_@v\nMatchPartitionType=usr\n' \
  "$device" >"$root/etc/sysupdate.d/10-usr.transfer"
sysupdate() { chroot "$root" /usr/lib/systemd/systemd-sysupdate --definitions=/etc/sysupdate.d update >log 2>&1; }
entry() { "$sgdisk" -i 1 disk | sed -n 's/^Partition name: //p;s/^Attribute flags: //p;s/^Partition GUID code: \([0-9A-F-]*\).*/\1/p' | tr '\n' ' '; }
say() { echo "$1: $(entry)"; entry >>said; }
say 'before'
# An image that is larger than the partition ends the update where the old version has gone.
! sysupdate || exit 1
say 'emptied'
truncate -s 12M "$root/src/img_3.raw"
sysupdate || { cat log; exit 1; }
say 'updated'
cmp -n 12582912 "$root/src/img_3.raw" disk 0 1048576 && echo 'the partition holds the new version'
INSIDE
chroot root /usr/lib/systemd/systemd-sysupdate --version | head -1
unshare --mount sh inside.sh
usr=8484680C-9521-48C6-9C11-B0720656F69E
[ "$(cat said)" = "$usr 0101000000000000 'img_1' $usr 0101000000000000 '_empty' $usr 0101000000000000 'img_3' " ]
