#!/bin/sh
# Tool: SWUpdate 2022.12 (Debian package swupdate 2022.12+dfsg-4+deb12u3), cpio 2.13. Needs root, for a mount.
#
# Behaviour: a sound, signed package whose only file is marked install-if-different, on a node that has that version: SWUpdate skips the file,
# then finds nothing to install, and ends with "Image invalid or corrupted. Not installing" and status 1. The same with install-if-higher and
# a version that isn't higher; and not higher are v10 after v9 (compared as texts), 1.2.3.4.6 after 1.2.3.4.5 (five numbers are a text,
# too) and 4593.2.0+nightly-2 after 4593.2.0+nightly-1 (what comes after + doesn't count). 4593.10.0 after 4593.2.0 is installed.
# One would guess: nothing to do is a success, or has a status of its own.
# Matters because a server that offers its newest package to everybody counts each node that is up to date as a failure, and who reads the
# message looks for a damaged download or a wrong key. A node can't tell it from one, so that it fetches the package again and again. Ask for
# the installed version before the download; and number releases with at most four numbers.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances swupdate |
  grep '^lib' | grep -v -e '^libc6' -e '^libgcc' -e '^libcrypt' -e '^libswupdate' | sort -u)
# shellcheck disable=SC2086
apt-get download -qq -o APT::Sandbox::User=root 'swupdate=2022.12+dfsg-4+deb12u3' 'libswupdate0.1=2022.12+dfsg-4+deb12u3' cpio=2.13+dfsg-7.1 \
  $libraries >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f swupdate_*.deb Package Version | xargs
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=test -days 30 >/dev/null 2>&1
head -c 100000 /dev/urandom >image.img
cp -a /etc own-etc

# after RULE INSTALLED OFFERED: what becomes of a package with the offered version of "os" where another one is installed
after() {
  cat >sw-description <<DESCRIPTION
software = { version = "$3"; hardware-compatibility: [ "1" ]; files: ( { filename = "image.img"; path = "$dir/out"; name = "os";
  version = "$3"; $1 = true; sha256 = "$(sha256sum image.img | cut -d' ' -f1)"; } ); }
DESCRIPTION
  openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem -outform DER -nosmimecap -binary
  printf '%s\n' sw-description sw-description.sig image.img | root/bin/cpio --quiet -o -H crc >image.swu
  echo "os $2" >own-etc/sw-versions
  rm -f out; status=0
  # SWUpdate reads what is installed in /etc/sw-versions.
  LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu" unshare --mount sh -c 'mount --make-rprivate / &&
    mount --bind own-etc /etc && root/usr/bin/swupdate -v -H bench:1 -k cert.pem -i image.swu' >log 2>&1 || status=$?
  [ -e out ] && file=installed || file="not installed, status $status"
  echo "$1, $3 after $2: $file, $(grep -o -e 'SWUPDATE successful' -e 'Image invalid or corrupted' log | head -1)"
}
{
  after install-if-different 1.0.0 1.0.1
  after install-if-different 1.0.0 1.0.0
  after install-if-higher 4593.2.0 4593.10.0
  after install-if-higher v9 v10
  after install-if-higher 1.2.3.4.5 1.2.3.4.6
  after install-if-higher 4593.2.0+nightly-1 4593.2.0+nightly-2
} >seen
cat seen
diff seen - <<'SEEN'
install-if-different, 1.0.1 after 1.0.0: installed, SWUPDATE successful
install-if-different, 1.0.0 after 1.0.0: not installed, status 1, Image invalid or corrupted
install-if-higher, 4593.10.0 after 4593.2.0: installed, SWUPDATE successful
install-if-higher, v10 after v9: not installed, status 1, Image invalid or corrupted
install-if-higher, 1.2.3.4.6 after 1.2.3.4.5: not installed, status 1, Image invalid or corrupted
install-if-higher, 4593.2.0+nightly-2 after 4593.2.0+nightly-1: not installed, status 1, Image invalid or corrupted
SEEN
