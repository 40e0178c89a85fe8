#!/bin/sh
# Tools: flock and losetup 2.38.1 (Debian packages util-linux 2.38.1-5+deb12u3, mount 2.38.1-5+deb12u3) on the running kernel (seen with
# 6.x). Needs root, for a loop device and its second node.
#
# Behaviour: the BSD lock (flock) of a block device belongs to the node that was opened, not to the device. While /dev/loop0 is locked
# exclusively, a second node of the same device (same numbers, made with mknod) is locked exclusively, too. Through a bind mount of the
# node the lock is refused, as it should be. An exclusive open (O_EXCL), which mounts and blkdiscard use, is refused on either node.
# One would guess: whoever locks a disk locks it for all who open that disk, as O_EXCL does.
# Matters because this lock is how systemd, sfdisk and update engines keep each other from editing one partition table at the same time:
# a container that was given the disk has a node of its own, as has every program with a /dev of its own. Both sides take the lock, and one
# overwrites the other's table. Give such a program the host's node by a bind mount, and compare the table read with the one before the write.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); loop=
trap '[ -z "$loop" ] || "$dir/root/sbin/losetup" --detach "$loop"; rm -rf "$dir"' EXIT
cd "$dir"
apt-get download -qq -o APT::Sandbox::User=root util-linux=2.38.1-5+deb12u3 mount=2.38.1-5+deb12u3 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
flock() { "$dir/root/usr/bin/flock" "$@"; }
flock --version; uname -r

truncate -s 4M disk
loop=$(root/sbin/losetup --find --show disk)
numbers=$(cat "/sys/block/${loop#/dev/}/dev")
mknod twin b "${numbers%:*}" "${numbers#*:}"
cat >hold.py <<'PYTHON'
# Opens a device exclusively, runs a command with its other arguments meanwhile, and says what came of the opening.
import os, subprocess, sys
try:
    os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
    said = "opened"
except OSError as error:
    said = error.strerror
print(f"O_EXCL on {sys.argv[2]}: {said}", flush=True)
if sys.argv[3:]: subprocess.run(sys.argv[3:], check=True)
PYTHON
lock='if root/usr/bin/flock --nonblock --exclusive "$0" true; then echo "lock on $1: taken"; else echo "lock on $1: refused"; fi'
{
  exec 9<"$loop"; flock --exclusive 9
  sh -c "$lock" "$loop" 'the locked node'
  touch bound
  unshare --mount sh -c "mount --make-rprivate / && mount --bind $loop bound && sh -c '$lock' bound 'a bind mount of it'"
  sh -c "$lock" twin 'the second node'
  exec 9<&-
  python3 hold.py "$loop" 'one node' python3 hold.py twin 'the second node meanwhile'
} >seen
cat seen
diff seen - <<'SEEN'
lock on the locked node: refused
lock on a bind mount of it: refused
lock on the second node: taken
O_EXCL on one node: opened
O_EXCL on the second node meanwhile: Device or resource busy
SEEN
