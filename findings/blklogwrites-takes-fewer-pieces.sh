#!/bin/sh
# Tools: QEMU 7.2.22's qemu-io with the block driver blklogwrites (Debian 12's package), x86-64.
#
# Behaviour: a write from 1,023 or 1,024 pieces of memory is carried out by a raw image, and refused with "Invalid argument" where
# blklogwrites records it. The recorder puts the log's header and a filling piece beside the write's own, comes to more than the 1,024
# that the host's kernel takes at once (IOV_MAX), and doesn't tell the layers above that it takes fewer. 1,022 pieces pass.
# One would guess: a filter that only records takes every write that its image takes, or announces its own limit.
# Matters because virtio-blk merges neighbouring writes of a guest up to exactly 1,024 pieces: four direct writes of 1 MiB in a row
# reach it when the host is busy, the guest is told of an I/O error on a disk that has none, and a test of power cuts fails now and
# then. "-global virtio-blk-device.request-merging=off" keeps guests below the limit.
set -eu
dir=$(mktemp -d); cd "$dir"; trap 'rm -rf "$dir"' EXIT
apt-get download -qq -o APT::Sandbox::User=root qemu-utils=1:7.2+dfsg-7+deb12u18+b3 liburing2=2.3-3 libaio1=0.3.113-4 \
  libfuse3-3=3.14.0-4 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu"
root/usr/bin/qemu-io --version | head -1

# Writes so many pieces of 4 KiB at once.
writes() {
  truncate -s 0 disk log; truncate -s 16M disk
  vector=$(yes 4k | head -n "$2" | tr '\n' ' ')
  said=$(root/usr/bin/qemu-io --image-opts "$1" -c "writev 0 $vector" 2>&1) || true
  case $said in *wrote*) said=written ;; esac
  echo "${1%%,*}, $2 pieces: $said"
}
plain=driver=raw,file.driver=file,file.filename=disk
recorded=driver=blklogwrites,file.driver=file,file.filename=disk,log.driver=file,log.filename=log,log-sector-size=512
for pieces in 1022 1023 1024; do
  writes $plain $pieces
  writes $recorded $pieces
done >outcome
cat outcome
diff outcome - <<'END'
driver=raw, 1022 pieces: written
driver=blklogwrites, 1022 pieces: written
driver=raw, 1023 pieces: written
driver=blklogwrites, 1023 pieces: writev failed: Invalid argument
driver=raw, 1024 pieces: written
driver=blklogwrites, 1024 pieces: writev failed: Invalid argument
END
