#!/bin/sh
# Tools: systemd-pcrlock 257.13 (Debian 13's systemd 257.13-1~deb13u1), sgdisk 1.0.9, with GPT attributes as ChromeOS' loaders and GRUB's gptprio use
# them (bits 48 to 51 priority, 52 to 55 tries, 56 successful). Needs root, for mounts and a loop device.
#
# Behaviour: `systemd-pcrlock lock-gpt` foretells what the firmware measures of the partition table into PCR 5. The value covers the attributes:
# one update with a trial has four values: before it, after the switch, after the loader has spent the try, and after the slot was marked good. The
# boot of the trial itself was measured before the loader spent the try, so that nothing which runs in that boot can read the table that was
# measured: `lock-gpt` in it foretells a value that neither this boot has nor the next one, if the slot is marked good.
# One would guess: PCR 5 holds the layout of the disk, which an update of a slot doesn't change. PCR 5 is in the set that `make-policy` takes
# by default.
# Matters because a secret sealed to that set opens in none of the boots that an A/B update brings, and a system that re-seals after the update,
# as for a new kernel, re-seals to the wrong table: PCR 5 and slots by attributes exclude each other.
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
(cd debs && apt-get $options -o APT::Sandbox::User=root download systemd=257.13-1~deb13u1 libsystemd-shared=257.13-1~deb13u1 libc6 libcap2 libmount1 libblkid1 libselinux1 libpcre2-8-0 libcrypt1 \
  libacl1 libaudit1 libcap-ng0 libseccomp2 libpam0g libssl3t64 libapparmor1 zlib1g libfdisk1 libuuid1 libkmod2 liblzma5 libzstd1 \
  libtss2-esys-3.0.2-0t64 libtss2-mu-4.0.1-0t64 libtss2-rc0t64 libtss2-sys1t64 >/dev/null 2>&1)
(cd own && apt-get -qq -o APT::Sandbox::User=root download gdisk=1.0.9-2.1 >/dev/null 2>&1 && dpkg-deb -x gdisk_*.deb .)
mkdir -p root/usr/bin root/usr/lib root/usr/lib64 root/usr/sbin root/proc root/dev root/sys root/tmp
for each in bin lib lib64 sbin; do ln -s "usr/$each" "root/$each"; done
for package in debs/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C root; done

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
mount -t proc proc root/proc; mount --rbind /dev root/dev; mount --rbind /sys root/sys
sgdisk() { own/sbin/sgdisk "$@" >/dev/null 2>&1; }
truncate -s 64M disk
# Slot 1 runs and is good, priority 1; slot 2 is empty.
sgdisk -n 1:2048:+16M -n 2:0:+16M -A 1:set:48 -A 1:set:56 disk
device=$(losetup -f --show disk)
trap 'losetup -d "$device"' EXIT
foretold() {
  chroot root /usr/lib/systemd/systemd-pcrlock lock-gpt "$device" --pcrlock=/tmp/gpt.pcrlock >log 2>&1 || { cat log; exit 1; }
  value=$(sed 's/.*"pcr":\([0-9]*\),.*"hashAlg":"sha256","digest":"\([0-9a-f]*\)".*/PCR \1 \2/' root/tmp/gpt.pcrlock)
  echo "$1: $value"; echo "$value" >>values
}
foretold 'before the update'
foretold 'once more'
sgdisk -A 2:set:49 -A 2:set:52 disk                        # priority 2, one try
foretold 'after the switch: the boot of the trial is measured so'
sgdisk -A 2:clear:52 disk                                  # the loader, before the kernel runs
foretold 'in the trial: the table that lock-gpt reads'
sgdisk -A 2:set:56 disk                                    # successful
foretold 'marked good: every boot from now on'
INSIDE
chroot root /usr/lib/systemd/systemd-pcrlock --version | head -1
unshare --mount sh inside.sh
[ "$(sort -u values | grep -c '^PCR 5 [0-9a-f]\{64\}$')" = 4 ] && [ "$(wc -l <values)" = 5 ]
[ "$(sed -n 1p values)" = "$(sed -n 2p values)" ]
echo 'four values in one update'
