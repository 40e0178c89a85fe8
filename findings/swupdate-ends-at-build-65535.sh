#!/bin/sh
# Tool: SWUpdate 2022.12 (Debian package swupdate 2022.12+dfsg-4+deb12u3); cpio 2.13.
#
# Behaviour: an image with `install-if-higher` and a version of four numbers, as 1.2.3.65534, is installed where 1.2.3.65533 is. As soon as one of
# the numbers is above 65535, both versions are compared as semantic ones, of which the first three numbers are all there is: 1.2.3.65536 is
# "not higher" than 1.2.3.65535, nor is any later build. The image is left out, the others of the same file are installed, and the update is
# "successful", status 0. A version of three numbers, as 2026.1.65536, goes on.
# One would guess: numbers are compared as numbers, or a version that can't be compared ends the update.
# Matters because the fourth number is a build server's counter: one day the fleet takes the new kernel and keeps the old root file system, all
# nodes at once, and the server is told that all is well. How the two were compared is said at log level "debug" only.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances swupdate |
  grep '^lib' | grep -v -e '^libc6' -e '^libgcc' -e '^libcrypt' -e '^libswupdate' | sort -u)
# shellcheck disable=SC2086
apt-get download -qq 'swupdate=2022.12+dfsg-4+deb12u3' 'libswupdate0.1=2022.12+dfsg-4+deb12u3' cpio=2.13+dfsg-7.1 $libraries >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
swupdate() { LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" "$dir/root/usr/bin/swupdate" "$@"; }
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=test -days 30 >/dev/null 2>&1
dpkg-deb -f swupdate_*.deb Package Version | xargs
echo 'new root' >rootfs; echo 'new kernel' >kernel
hash() { sha256sum "$1" | cut -d' ' -f1; }

# An update of both: the root file system if its version is higher, the kernel always.
update() {
  rm -f root.installed kernel.installed
  printf 'globals: { };\nversions: ( { name = "rootfs"; version = "%s"; } );\n' "$1" >config
  cat >sw-description <<END_OF_DESCRIPTION
software = { version = "$2"; hardware-compatibility: [ "1" ]; images: (
  { filename = "rootfs"; path = "$dir/root.installed"; type = "rawfile"; name = "rootfs"; version = "$2"; install-if-higher = true;
    sha256 = "$(hash rootfs)"; },
  { filename = "kernel"; path = "$dir/kernel.installed"; type = "rawfile"; sha256 = "$(hash kernel)"; } ); }
END_OF_DESCRIPTION
  openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem -outform DER -nosmimecap -binary
  printf '%s\n' sw-description sw-description.sig rootfs kernel | root/bin/cpio --quiet -o -H crc >update.swu
  swupdate -f config -H bench:1 -k cert.pem -i update.swu >log 2>&1 && status=0 || status=$?
  said=$(grep -o 'SWUPDATE successful' log | head -1)
  echo "$1 to $2: $(cat root.installed 2>/dev/null || echo 'old root'), $(cat kernel.installed 2>/dev/null || echo 'old kernel'), $said, status $status"
}
{
  update 1.2.3.65533 1.2.3.65534
  update 1.2.3.65534 1.2.3.65535
  update 1.2.3.65535 1.2.3.65536
  update 1.2.3.65535 1.2.3.70000
  update 2026.1.65535 2026.1.65536
} >seen
cat seen
diff seen - <<'SEEN'
1.2.3.65533 to 1.2.3.65534: new root, new kernel, SWUPDATE successful, status 0
1.2.3.65534 to 1.2.3.65535: new root, new kernel, SWUPDATE successful, status 0
1.2.3.65535 to 1.2.3.65536: old root, new kernel, SWUPDATE successful, status 0
1.2.3.65535 to 1.2.3.70000: old root, new kernel, SWUPDATE successful, status 0
2026.1.65535 to 2026.1.65536: new root, new kernel, SWUPDATE successful, status 0
SEEN
