#!/bin/sh
# Tool: systemd-sysext 252.39 (Debian systemd 252.39-1~deb12u2). Needs root, for mounts.
#
# Behaviour: `systemd-sysext merge` exits with 0 when the only extension doesn't fit the system (another ID) and nothing was merged; the
# reason is on standard error. Run where mounts don't propagate (private, or the slaves that a unit with PrivateTmp= has), it says
# "Merged extensions", exits with 0, and nothing is merged anywhere, not even for the caller: the merge happens in a namespace of a
# child process and reaches others by propagation alone.
# One would guess: a failing exit status when what was asked for didn't happen.
# Matters because an update's hook or health check that calls it from a hardened unit believes that the extensions are in place. Only the
# mount table of the first process proves it: a mount of type overlay, source "sysext", on /usr.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq 'systemd=252.39-1~deb12u2' 'libsystemd-shared=252.39-1~deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
sysext="$dir/root/bin/systemd-sysext"
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu/systemd" host="$dir/host" sysext
"$sysext" --version | head -1

mkdir -p host/usr/lib host/opt host/etc host/var/lib
printf 'ID=demo\nVERSION_ID=1\n' >host/usr/lib/os-release
ln -s ../usr/lib/os-release host/etc/os-release
extension() {                                    # name, the ID that it is for
  mkdir -p "host/var/lib/extensions/$1/usr/lib/extension-release.d" "host/var/lib/extensions/$1/usr/share"
  printf 'ID=%s\nVERSION_ID=1\n' "$2" >"host/var/lib/extensions/$1/usr/lib/extension-release.d/extension-release.$1"
  echo here >"host/var/lib/extensions/$1/usr/share/$1"
}
export LC_ALL=C
# All of it in a namespace of this script's own, so that the machine's /run and mounts stay as they are.
cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /; mount -t tmpfs tmpfs /run
mount --bind "$host" "$host"; mount --make-shared "$host"
merged() { grep -c " $host/usr .* - overlay sysext " /proc/self/mountinfo || true; }
"$sysext" --root="$host" merge 2>said; echo "$1: exit status $?, overlays here $(merged): $(tail -1 said)"
[ "$(merged)" = 0 ]
INSIDE
extension other elsewhere
unshare --mount sh inside.sh 'an extension of another system'

cat >inside2.sh <<'INSIDE'
set -eu
mount --make-rprivate /; mount -t tmpfs tmpfs /run
mount --bind "$host" "$host"; mount "--make-$1" "$host"
merged() { grep -c " $host/usr .* - overlay sysext " /proc/self/mountinfo || true; }
"$sysext" --root="$host" merge 2>said
echo "mounts $1: exit status $?, overlays $(merged), the extension's file: $(cat "$host/usr/share/fits" 2>/dev/null || echo missing); $(tail -1 said)"
[ "$(merged)" = "$2" ]
INSIDE
rm -r host/var/lib/extensions; extension fits demo
unshare --mount sh inside2.sh shared 1
unshare --mount sh inside2.sh private 0
