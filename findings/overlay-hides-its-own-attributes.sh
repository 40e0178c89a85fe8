#!/bin/sh
# Tools: overlayfs of the running kernel (seen with 6.x), setfattr and getfattr 2.5.1 (Debian package attr 1:2.5.1-4). Needs root.
#
# Behaviour: a directory of the upper layer carries `trusted.overlay.opaque`. Seen through the overlay the attribute isn't there: a listing
# doesn't have it, reading and removing it fail with ENODATA. Below the overlay it can still be read, and removed; the lower layer's files
# then appear in the next mount.
# One would guess: an attribute of the upper layer is visible through the overlay, or removing it fails with EPERM.
# Matters because since /etc is an overlay (a confext) an image's postinst that removes the attribute from /etc/extensions through /etc
# believes that it was never set, and the new image's extensions stay hidden. It has to reach below the overlay: a mount namespace of
# its own, with the overlay unmounted lazily.
set -eu
[ "$(id -u)" = 0 ] || { echo 'needs root' >&2; exit 77; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq 'attr=1:2.5.1-4' >/dev/null 2>&1
dpkg-deb -x attr_*.deb root
uname -r
export dir PATH="$dir/root/usr/bin:$PATH"

cat >inside.sh <<'INSIDE'
set -eu
mount --make-rprivate /; mount -t tmpfs tmpfs "$dir/layers"; cd "$dir/layers"
mkdir -p lower/extensions upper/extensions work merged
echo x >lower/extensions/from-below
setfattr -n trusted.overlay.opaque -v y upper/extensions
overlay() { mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; }
overlay
through=$(getfattr -m - -d merged/extensions 2>&1)
removal=$(setfattr -x trusted.overlay.opaque merged/extensions 2>&1) && exit 1
echo "listed through the overlay: '${through}'; removal: ${removal}; files: '$(ls merged/extensions)'"
[ -z "$through" ]; case $removal in *'No such attribute'* | *'No data available'*) ;; *) exit 1 ;; esac
umount merged
echo "below: $(getfattr --only-values -n trusted.overlay.opaque upper/extensions 2>/dev/null)"
setfattr -x trusted.overlay.opaque upper/extensions
overlay
echo "removed below; files: '$(ls merged/extensions)'"
[ "$(ls merged/extensions)" = from-below ]
umount merged; cd "$dir"; umount layers
INSIDE
mkdir layers
unshare --mount sh inside.sh
