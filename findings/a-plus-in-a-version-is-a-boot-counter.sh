#!/bin/sh
# Tools: systemd-sysupdate, systemd-bless-boot and bootctl 257.13 (Debian 13), on a folder for the ESP. Needs root, for mounts.
#
# Behaviour: a version has a build number after a plus, as semantic versions have (1.0+2). sysupdate installs its boot entry as os_1.0+2+3-0.conf, by
# the pattern of the manual, and then lists it as version 1.0+2+3-0. After the boot, systemd-bless-boot makes it os_1.0+2.conf: "good". To
# bootctl and to the loader that is entry os_1.0.conf with 2 tries left, a trial; to sysupdate it is version 1.0, and it installs 1.0+2 again.
# One would guess: a counter is only what was put there as one; a version is what os-release says.
# Matters because such a node is never done: each check installs the version that runs, each boot is a trial, and after boots that nothing
# blesses a good version is put behind every other. A plus followed by digits can't be in a version that comes into the name of a boot entry.
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
  systemd-boot=257.13-1~deb13u1 systemd-boot-tools=257.13-1~deb13u1 \
  libsystemd-shared=257.13-1~deb13u1 libc6 libcap2 libmount1 libblkid1 libselinux1 libpcre2-8-0 libcrypt1 libacl1 libaudit1 libcap-ng0 libseccomp2 \
  libpam0g libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libkmod2 libssl3t64 libapparmor1 zlib1g libfdisk1 libuuid1 libudev1 libcurl4t64 \
  libcurl3t64-gnutls libbz2-1.0 >/dev/null 2>&1)
mkdir -p root/usr/bin root/usr/lib root/usr/lib64 root/usr/sbin
for each in bin lib lib64 sbin; do ln -s "usr/$each" "root/$each"; done
for package in debs/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C root; done

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
root=$PWD/root
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/sys" "$root/tmp" "$root/src" "$root/boot" "$root/etc/sysupdate.d"
mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"
for each in run tmp sys boot; do mount -t tmpfs tmpfs "$root/$each"; done
entries=$root/boot/loader/entries variables=$root/sys/firmware/efi/efivars
mkdir -p "$entries" "$variables"
printf 'ID=debian\nIMAGE_VERSION=0\n' >"$root/usr/lib/os-release"
printf 'title OS\nlinux /linux\n' >"$root/src/os_1.0+2.conf"; : >"$root/boot/linux"
printf '[Transfer]\nVerify=no\n[Source]\nType=regular-file\nPath=/src\nMatchPattern=os_@v.conf\n[Target]\nType=regular-file\nPath=/boot/loader/entries\nMatchPattern=os_@v+@l-@d.conf os_@v+@l.conf os_@v.conf\nTriesLeft=3\nTriesDone=0\nInstancesMax=2\n' \
  >"$root/etc/sysupdate.d/10-entry.transfer"
own() { SYSTEMD_RELAX_ESP_CHECKS=1 chroot "$root" "$@" 2>log || { cat log >&2; exit 1; }; }
sysupdate() { own /usr/lib/systemd/systemd-sysupdate --definitions=/etc/sysupdate.d "$@"; }
say() {
  echo "$1: $(cd "$entries" && echo *)" >>seen
  own /usr/bin/bootctl --esp-path=/boot list | sed -n 's/^ *id: \(.*\)/  bootctl: entry \1/p;s/^ *tries: \(.*\)/  bootctl: tries \1/p' >>seen
  sysupdate list | sed -n 's/^[^0-9]* \([0-9][^ ]*\) .* current$/  sysupdate: version \1 is installed/p' >>seen
}
sysupdate update >/dev/null; say 'installed'
# What systemd-boot does: it spends a try, and names the entry in a variable, four bytes of attributes before it.
mv "$entries/os_1.0+2+3-0.conf" "$entries/os_1.0+2+2-1.conf"
{ printf '\006\000\000\000'; printf '\\loader\\entries\\os_1.0+2+2-1.conf\0' | iconv -f ASCII -t UTF-16LE; } \
  >"$variables/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
own /usr/lib/systemd/systemd-bless-boot --path=/boot good; say 'blessed'
sysupdate update >/dev/null; echo "updated: $(cd "$entries" && echo *)" >>seen
INSIDE
chroot root /usr/lib/systemd/systemd-sysupdate --version | head -1
unshare --mount sh inside.sh
cat seen
diff seen - <<'SEEN'
installed: os_1.0+2+3-0.conf
  bootctl: entry os_1.0+2.conf
  bootctl: tries 3 left; 0 done
  sysupdate: version 1.0+2+3-0 is installed
blessed: os_1.0+2.conf
  bootctl: entry os_1.0.conf
  bootctl: tries 2 left
  sysupdate: version 1.0 is installed
updated: os_1.0+2+3-0.conf os_1.0+2.conf
SEEN
