#!/bin/sh
# Tools: partx and losetup 2.38.1 (Debian packages util-linux 2.38.1-5+deb12u3, mount 2.38.1-5+deb12u3), sgdisk 1.0.9. Needs root, for a loop device.
#
# Behaviour: `partx --update` without a range takes the number of partitions for the highest number. Of the partitions 1, 2, 3, 4, 6, 7 and
# 9 it adds all but 9; of 3 and 4 alone none. It says nothing and exits with 0. `partx --add`, or `--update --nr 1:9`, adds all.
# One would guess: update makes the kernel's list what the table says.
# Matters because the numbers of this layout have gaps (Flatcar's have no 5 and 8): after an edit of the table by a tool the root partition,
# number 9, is missing, and nothing says so.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); loop=
trap '[ -z "$loop" ] || { root/usr/bin/partx --delete "$loop" 2>/dev/null || true; root/sbin/losetup --detach "$loop"; }; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 util-linux=2.38.1-5+deb12u3 mount=2.38.1-5+deb12u3 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
root/usr/bin/partx --version

added() {                                        # numbers of the partitions, then options of partx
  numbers=$1; shift
  rm -f disk.img; truncate -s 64M disk.img
  for number in $numbers; do root/sbin/sgdisk -n "$number:0:+1M" disk.img >/dev/null; done
  loop=$(root/sbin/losetup --find --show disk.img)
  root/usr/bin/partx "$@" "$loop"
  found=$(ls /sys/block/"${loop#/dev/}" | sed -n "s/^${loop#/dev/}p//p" | sort -n | tr '\n' ' ')
  root/usr/bin/partx --delete "$loop" 2>/dev/null || true
  root/sbin/losetup --detach "$loop"; loop=
  echo "of $numbers, partx $*: ${found:-none}" >&2
  echo "$found"
}
[ "$(added '1 2 3 4 6 7 9' --update)" = '1 2 3 4 6 7 ' ]
[ -z "$(added '3 4' --update)" ]
[ "$(added '1 2 3 4 6 7 9' --add)" = '1 2 3 4 6 7 9 ' ]
[ "$(added '1 2 3 4 6 7 9' --update --nr 1:9)" = '1 2 3 4 6 7 9 ' ]
