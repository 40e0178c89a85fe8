#!/bin/sh
# Tool: systemd-bless-boot 252.39 (Debian's systemd-boot 252.39-1~deb12u2), on a folder for the ESP and a variable as systemd-boot sets it.
# Needs root, for mounts.
#
# Behaviour: a boot entry on trial has its counters in its name (os+2-1.efi: two tries left). `systemd-bless-boot good` renames it to
# os.efi. If an os.efi is there already, it renames nothing, says nothing and exits with 0; `status` goes on saying "indeterminate".
# Without an os.efi it says "Marked boot as 'good'", and so does `status`.
# One would guess: the newer file replaces the older one, or the unit fails.
# Matters because the loader goes on counting the healthy version down to os+0-3.efi and then puts it behind every other one: a machine that
# was well falls back at some later reboot. It comes about when a version is installed once more (a repair, a rebuilt image of the same
# name): whoever writes an entry with counters must remove the one without, and a health gate must ask `status` afterwards.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root systemd-boot=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 systemd=252.39-1~deb12u2 \
  >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p machine/usr machine/proc machine/sys machine/tmp/work
for each in bin lib lib64 sbin; do ln -s "usr/$each" "machine/$each"; done

cat >outside.sh <<'END'
set -eu
mount --make-rprivate /
mount --bind /usr machine/usr; mount --bind . machine/tmp/work
mount -t proc proc machine/proc; mount -t tmpfs tmpfs machine/sys
mkdir -p machine/sys/firmware/efi/efivars
exec chroot machine /usr/bin/env -i PATH=/usr/bin:/usr/sbin LC_ALL=C sh /tmp/work/inside.sh
END
cat >inside.sh <<'END'
set -eu
cd /tmp/work
export SYSTEMD_RELAX_ESP_CHECKS=1 LD_LIBRARY_PATH=$PWD/root/usr/lib/x86_64-linux-gnu/systemd
# Four bytes of attributes, then the name in UTF-16.
{ printf '\006\000\000\000'; printf '\\EFI\\Linux\\os+2-1.efi\0' | iconv -f ASCII -t UTF-16LE; } \
  >/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
bless() { root/lib/systemd/systemd-bless-boot --path="$PWD/esp" "$1" 2>&1; }
tried() {
  said=$(bless good) && status=0 || status=$?
  echo "$1: good: status $status, it says '$said'"
  echo "  files: $(ls esp/EFI/Linux | tr '\n' ' '), status: $(bless status)"
}
root/lib/systemd/systemd-bless-boot --version | head -1
mkdir -p esp/EFI/Linux
echo new >esp/EFI/Linux/os+2-1.efi
tried 'alone' >seen
rm esp/EFI/Linux/*
echo new >esp/EFI/Linux/os+2-1.efi
echo old >esp/EFI/Linux/os.efi
tried 'beside os.efi' >>seen
END
unshare --mount --pid --fork sh outside.sh
cat seen
diff seen - <<'END'
alone: good: status 0, it says 'Marked boot as 'good'. (Boot attempt counter is at 1.)'
  files: os.efi , status: good
beside os.efi: good: status 0, it says ''
  files: os+2-1.efi os.efi , status: indeterminate
END
