#!/bin/sh
# Tools: bsdiff 4.3, rdiff 2.3.2 (librsync, as SWUpdate's handlers rdiff_image and rdiff_file use it), xdelta3 3.0.11 (Debian 12's packages).
#
# Behaviour: a patch is applied to an old image of which one block has changed since, as mounting it for writing changes a superblock.
# bspatch and `rdiff patch` exit with 0, say nothing, and make an image that is not the new one: the changed bytes are in it, in the one as they are,
# in the other as the sum of two images. They do so with another version's image as well, and with a file of zeros. xdelta3 refuses all three.
# One would guess: a binary patch names what it belongs to, as xdelta3's does, or at least checks what it has made.
# Matters because in a slot the old image is a partition that anything may have written to, and "status 0" is what an updater's script goes by.
# Whoever patches a slot hashes what it reads or what it has made: neither format has a place for that.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq bsdiff=4.3-23 rdiff=2.3.2-1+b1 librsync2=2.3.2-1+b1 libb2-1=0.98.1-1.1 libpopt0=1.19+dfsg-1 xdelta3=3.0.11-dfsg-1.2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
own() { LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" "$dir/root/usr/bin/$@"; }
for package in *.deb; do dpkg-deb -f "$package" Package Version | xargs; done
# The new image is the old one with some bytes more at its beginning and another end.
seq 1 300000 >old
{ echo version 2; head -c 1900000 old; seq 5 20000; } >new
own bsdiff old new new.bsdiff
own rdiff signature old old.signature; own rdiff delta old.signature new new.rdiff
own xdelta3 -e -s old new new.xdelta
cp old mounted; printf 'mounted once' | dd of=mounted bs=1 seek=1000000 conv=notrunc 2>/dev/null
{ echo version 1.5; tail -c +13 old; } >another
truncate -s "$(wc -c <old)" zeros
tried() {
  rm -f made
  case $1 in
    bspatch) own bspatch "$2" made new.bsdiff ;;
    rdiff) own rdiff patch "$2" new.rdiff made ;;
    xdelta3) own xdelta3 -d -s "$2" new.xdelta made ;;
  esac >log 2>&1 && status=0 || status=other
  [ $status = other ] || [ ! -s log ] || status='0, and it says something'
  cmp -s made new && image='the new image' || image='not the new image'
  echo "$1, $2: status $status, $image"
}
for tool in bspatch rdiff xdelta3; do
  for from in old mounted another zeros; do tried $tool $from; done
done >seen
cat seen
diff seen - <<'SEEN'
bspatch, old: status 0, the new image
bspatch, mounted: status 0, not the new image
bspatch, another: status 0, not the new image
bspatch, zeros: status 0, not the new image
rdiff, old: status 0, the new image
rdiff, mounted: status 0, not the new image
rdiff, another: status 0, not the new image
rdiff, zeros: status 0, not the new image
xdelta3, old: status 0, the new image
xdelta3, mounted: status other, not the new image
xdelta3, another: status other, not the new image
xdelta3, zeros: status other, not the new image
SEEN
