#!/bin/sh
# Tool: systemd-sysupdate 257.13 (Debian 13's systemd-container 257.13-1~deb13u1), sgdisk 1.0.9. Needs root, for mounts and a loop device.
#
# Behaviour: partitions hold versions 1 and 2; version 2 failed, and the node is back on 1 (IMAGE_VERSION=1 in os-release). `list` calls version 2
# "current". `update` to 3 makes room by erasing the oldest version: the one that is running. With `ProtectVersion=%A` in the transfer file it
# takes the partition of version 2.
# One would guess: the tool that reads IMAGE_VERSION for %A knows which version runs, and never writes over it; "current" means running.
# Matters because it goes well in every test that has no rollback, and after one it overwrites the mounted file system under the only version
# that boots: the fallback costs the node. Whoever uses sysupdate puts ProtectVersion=%A into each transfer file, and an engine that takes its
# slots over must find the running one by what is mounted, not by which label is older.
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
(cd debs && apt-get $options -o APT::Sandbox::User=root download systemd=257.13-1~deb13u1 systemd-container=257.13-1~deb13u1 \
  libsystemd-shared=257.13-1~deb13u1 libc6 libcap2 libmount1 libblkid1 libselinux1 libpcre2-8-0 libcrypt1 libacl1 libaudit1 libcap-ng0 libseccomp2 \
  libpam0g libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libkmod2 libssl3t64 libapparmor1 zlib1g libfdisk1 libuuid1 libudev1 libcurl4t64 \
  libcurl3t64-gnutls libbz2-1.0 >/dev/null 2>&1)
(cd own && apt-get -qq -o APT::Sandbox::User=root download gdisk=1.0.9-2.1 >/dev/null 2>&1 && dpkg-deb -x gdisk_*.deb .)
mkdir -p root/usr/bin root/usr/lib root/usr/lib64 root/usr/sbin
for each in bin lib lib64 sbin; do ln -s "usr/$each" "root/$each"; done
for package in debs/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C root; done

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
root=$PWD/root usr=8484680C-9521-48C6-9C11-B0720656F69E
sgdisk() { own/sbin/sgdisk "$@"; }
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/sys" "$root/tmp" "$root/src" "$root/etc/sysupdate.d"
mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/run"; mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"; mount --rbind /sys "$root/sys"
truncate -s 64M disk
sgdisk -n 1:2048:+16M -t "1:$usr" -n 2:0:+16M -t "2:$usr" disk >/dev/null 2>&1
device=$(losetup -f --show disk)
trap 'losetup -d "$device"' EXIT
printf 'ID=debian\nIMAGE_VERSION=1\n' >"$root/usr/lib/os-release"
head -c 2M /dev/urandom >"$root/src/img_3.raw"
sysupdate() { chroot "$root" /usr/lib/systemd/systemd-sysupdate --definitions=/etc/sysupdate.d "$@" 2>log; }
label() { sgdisk -i "$1" disk | sed -n "s/^Partition name: '\(.*\)'/\1/p"; }
updates() {
  sgdisk -c 1:img_1 -c 2:img_2 disk >/dev/null 2>&1
  printf '[Transfer]\nVerify=no\n%s\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=img_@v.raw\n[Target]\nType=partition\nPath=%s\nMatchPattern=img_@v\nMatchPartitionType=usr\n' \
    "$1" "$device" >"$root/etc/sysupdate.d/10-usr.transfer"
  current=$(sysupdate list | sed -n 's/^[^0-9]* \([0-9]*\) .* current$/\1/p')
  sysupdate update >/dev/null || { cat log; exit 1; }
  echo "${1:-without ProtectVersion}: 1 runs, current is $current, after the update: $(label 1), $(label 2)" >>seen
}
updates ''
updates 'ProtectVersion=%A'
INSIDE
chroot root /usr/lib/systemd/systemd-sysupdate --version | head -1
unshare --mount sh inside.sh
cat seen
diff seen - <<'SEEN'
without ProtectVersion: 1 runs, current is 2, after the update: img_3, img_2
ProtectVersion=%A: 1 runs, current is 2, after the update: img_1, img_3
SEEN
