#!/bin/sh
# Tools: systemd-sysext 252.39 (Debian 12's systemd 252.39-1~deb12u2) and 257.13 (Debian 13's 257.13-1~deb13u1). Needs root, for mounts.
#
# Behaviour: an extension with `ID=coreos` on a system with `ID=flatcar` and `ID_LIKE=coreos` (as Flatcar's os-release has it) is refused
# by 252 and merged by 257. The other way round, an extension with `ID_LIKE=flatcar` on a system with `ID=flatcar`, both refuse.
# One would guess: the name is compared with `ID` alone, as the manual page of 252 says, and the same in every version.
# Matters because an image that moves to a newer systemd merges extensions that lay there unused under the old one, and loses them again when
# it falls back: whoever compares what was merged before and after an update must not take that for the image's loss.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

# root SUITE SYSTEMD: systemd's packages and what its programs link, of a release, in a folder of that name
root() {
  mkdir -p "$1/apt/sources.list.d" "$1/apt/preferences.d" "$1/apt/trusted.gpg.d" "$1/state/lists/partial" "$1/cache/archives/partial" "$1/debs" "$1/root"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    if [ -f "$file" ]; then sed "s/bookworm/$1/g" "$file" >"$1/apt${file#/etc/apt}"; fi
  done
  options="-qq -o Dir::Etc=$dir/$1/apt -o Dir::State=$dir/$1/state -o Dir::Cache=$dir/$1/cache -o Dir::State::status=/dev/null"
  apt-get $options update >/dev/null 2>&1
  # Not each release has each library by this name.
  for package in "systemd=$2" "libsystemd-shared=$2" libc6 libcap2 libmount1 libblkid1 libselinux1 libpcre2-8-0 libcrypt1 libacl1 libaudit1 \
    libcap-ng0 libseccomp2 libpam0g libgcrypt20 libgpg-error0 liblz4-1 liblzma5 libzstd1 libkmod2 libip4tc2 libssl3 libssl3t64 libapparmor1 zlib1g; do
    (cd "$1/debs" && apt-get $options -o APT::Sandbox::User=root download "$package" >/dev/null 2>&1) || true
  done
  # One tree: /bin and /lib are /usr's, whichever of both a package names.
  mkdir -p "$1/root/usr/bin" "$1/root/usr/lib" "$1/root/usr/lib64" "$1/root/usr/sbin"
  for each in bin lib lib64 sbin; do ln -s "usr/$each" "$1/root/$each"; done
  for package in "$1"/debs/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C "$1/root"; done
}
root bookworm '252.39-1~deb12u2'
root trixie '257.13-1~deb13u1'

# In a namespace of this script's own, so that the machine's mounts stay as they are.
cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /
root=$1 line=$2
mkdir -p "$root/mnt" "$root/proc" "$root/run" "$root/tmp"
mount -t tmpfs tmpfs "$root/mnt"; mount --make-shared "$root/mnt"; mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/run"
host="$root/mnt/host" extension=var/lib/extensions/demo
mkdir -p "$host/usr/lib" "$host/etc" "$host/opt" "$host/$extension/usr/lib/extension-release.d"
printf 'ID=flatcar\nID_LIKE=coreos\nVERSION_ID=1\n' >"$host/usr/lib/os-release"
ln -s ../usr/lib/os-release "$host/etc/os-release"
printf '%s\nVERSION_ID=1\n' "$line" >"$host/$extension/usr/lib/extension-release.d/extension-release.demo"
chroot "$root" /usr/bin/systemd-sysext --root=/mnt/host merge >/dev/null 2>&1 || true
if grep -q " $host/usr .* - overlay sysext " /proc/self/mountinfo; then echo merged; else echo refused; fi
INSIDE
like() { unshare --mount sh inside.sh "$dir/$1/root" "$2" | tr '\n' ' '; }
for suite in bookworm trixie; do
  chroot "$suite/root" /usr/bin/systemd-sysext --version | head -1
  echo "ID=coreos on a system like coreos: $(like $suite ID=coreos)"
  echo "ID=other, ID_LIKE=flatcar on flatcar: $(like $suite "$(printf 'ID=other\nID_LIKE=flatcar')")"
  echo "ID=flatcar on flatcar: $(like $suite ID=flatcar)"
  like $suite ID=coreos >>said; like $suite "$(printf 'ID=other\nID_LIKE=flatcar')" >>said; like $suite ID=flatcar >>said
done
[ "$(cat said)" = 'refused refused merged merged refused merged ' ]
