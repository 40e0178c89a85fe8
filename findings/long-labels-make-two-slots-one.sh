#!/bin/sh
# Tools: sgdisk 1.0.9, sfdisk 2.38.1, parted 3.5, systemd-repart 252.39 (Debian 12's packages).
#
# Behaviour: a name in a GPT has 36 characters. sgdisk, sfdisk and parted cut a longer one there and exit with 0, so that the two names
# example-os-production-usr-verity-slot-a and …-slot-b become one. systemd-repart, with the same as Label=, neither cuts nor stops: it warns of
# "specifiers", leaves the label out, gives the partitions its own names (usr-x86-64-verity and usr-x86-64-verity-2), writes the disk and exits with 0.
# One would guess: a name that has no room is an error, as a partition without room is; or all tools do the same with it.
# Matters because names are what slots are found by (PARTLABEL= on the kernel's command line, /dev/disk/by-partlabel, patterns of updaters), and
# what tells them apart is at their end. A longer product or version makes both slots one, and the image built by one tool isn't the image
# built by the other. Keep names below 37 characters, tell slots apart at the front, and read the table back after making it.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 fdisk=2.38.1-5+deb12u3 parted=3.5-3+deb12u1 libparted2=3.5-3+deb12u1 libdevmapper1.02.1=2:1.02.185-2 \
  'systemd=252.39-1~deb12u2' 'libsystemd-shared=252.39-1~deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$dir/root/lib/x86_64-linux-gnu:$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/usr/lib/x86_64-linux-gnu/systemd
own() { LD_LIBRARY_PATH=$libraries "$dir/root/$@"; }
own bin/systemd-repart --version | head -1; own sbin/sfdisk --version; own sbin/parted --version | head -1

name=example-os-production-usr-verity-slot
mkdir definitions
for slot in a b; do
  printf '[Partition]\nType=usr-verity\nLabel=%s-%s\nSizeMinBytes=8M\nSizeMaxBytes=8M\n' $name $slot >definitions/$slot.conf
done
made_by() {
  rm -f disk; truncate -s 64M disk
  case $1 in
    sgdisk) own sbin/sgdisk -n 1:2048:+8M -c "1:$name-a" -n 2:0:+8M -c "2:$name-b" disk ;;
    sfdisk) printf 'label: gpt\nsize=8M,name="%s-a"\nsize=8M,name="%s-b"\n' $name $name | own sbin/sfdisk disk ;;
    parted) own sbin/parted -s disk mklabel gpt mkpart $name-a 1MiB 9MiB mkpart $name-b 9MiB 17MiB ;;
    repart) own bin/systemd-repart --empty=force --dry-run=no --definitions=definitions disk ;;
  esac >log 2>&1 && status=0 || status=$?
  echo "$1: status $status, $(own sbin/sfdisk --dump disk 2>/dev/null | sed -n 's/.*name="\([^"]*\)".*/\1/p' | xargs)"
  sed -n 's/.*\(Failed to expand [a-z ]*in Label=, ignoring\).*/  it says: \1/p' log | sort -u
}
for tool in sgdisk sfdisk parted repart; do made_by $tool; done >seen
cat seen
diff seen - <<'SEEN'
sgdisk: status 0, example-os-production-usr-verity-slo example-os-production-usr-verity-slo
sfdisk: status 0, example-os-production-usr-verity-slo example-os-production-usr-verity-slo
parted: status 0, example-os-production-usr-verity-slo example-os-production-usr-verity-slo
repart: status 0, usr-x86-64-verity usr-x86-64-verity-2
  it says: Failed to expand specifiers in Label=, ignoring
SEEN
