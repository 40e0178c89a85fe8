#!/bin/sh
# Tool: SWUpdate 2022.12 (Debian package swupdate 2022.12+dfsg-4+deb12u3), losetup 2.38.1. Needs root, for a loop device.
#
# Behaviour: the `raw` handler writes an image to a block device, closes it and reports "SWUPDATE successful". What was written reaches the
# device as it is closed, but no flush request is ever sent to it: the kernel's count of flushes of that device (field 16 of its `stat`) stays
# what it was. `dd conv=fsync` to the same device raises it by one; plain `dd` doesn't.
# One would guess: an updater that says "successful" has called fsync on what the machine is to boot from.
# Matters because the next step is the boot loader's switch, on another device or in another place of this one: with a drive that has a
# volatile cache, a power cut can keep the switch and lose the image. Whoever uses it adds a hook that flushes before the switch.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); loop=
trap '[ -z "$loop" ] || losetup --detach "$loop"; rm -rf "$dir"' EXIT
cd "$dir"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances swupdate |
  grep '^lib' | grep -v -e '^libc6' -e '^libgcc' -e '^libcrypt' -e '^libswupdate' | sort -u)
# shellcheck disable=SC2086
apt-get download -qq 'swupdate=2022.12+dfsg-4+deb12u3' 'libswupdate0.1=2022.12+dfsg-4+deb12u3' $libraries >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
libs="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu"
swupdate() { LD_LIBRARY_PATH="$libs" "$dir/root/usr/bin/swupdate" "$@"; }
flushes() { awk '{ print $16 }' "/sys/block/${loop#/dev/}/stat"; }

truncate -s 8M disk
loop=$(losetup --find --show disk)
head -c 4194304 /dev/urandom >image.img
cat >sw-description <<END
software = { version = "2"; hardware-compatibility: [ "1" ]; images: ( { filename = "image.img"; device = "$loop"; type = "raw";
  installed-directly = true; sha256 = "$(sha256sum image.img | cut -d' ' -f1)"; } ); }
END
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=test -days 30 >/dev/null 2>&1
openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem -outform DER -nosmimecap -binary
printf '%s\n' sw-description sw-description.sig image.img | cpio --quiet -o -H crc >image.swu

before=$(flushes)
swupdate -H bench:1 -k cert.pem -i image.swu >log 2>&1
grep -o 'SWUPDATE successful' log | head -1
dpkg-deb -f swupdate_*.deb Package Version | xargs
after=$(flushes)
cmp -n 4194304 image.img "$loop" && echo 'the image is on the device'
dd if=image.img of="$loop" bs=1M conv=fsync 2>/dev/null
synced=$(flushes)
echo "flushes: SWUpdate $((after - before)), dd conv=fsync $((synced - after))"
[ $((after - before)) = 0 ] && [ $((synced - after)) -ge 1 ]
