#!/bin/sh
# Tools: Linux 6.1.192 with busybox 1.35.0's blockdev and dd, and sgdisk 1.0.9 (Debian 12's packages), x86-64, in QEMU (qemu-system-x86_64 in
# PATH).
#
# Behaviour: a partition is made read-only (`blockdev --setro`), and writes to its node are refused. As soon as the disk's table is read again
# (BLKRRPART) with the same contents, it is writable: the kernel has made the partition anew. While somebody has any partition of the
# disk open, the re-read is refused (EBUSY) and the flag stays. Writes through the whole disk's node were never stopped by it.
# One would guess: the flag stays until somebody takes it away, as long as the partition is there.
# Matters because an updater that seals a slot between verifying and booting it loses the seal to the next tool that edits the table: sgdisk,
# sfdisk and cgpt's callers end by having the kernel read it again, udev does so by itself after a write, and where the slots have a disk of
# their own nothing is open that would prevent it. Hold the partition open as long as the seal has to last.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 gdisk=1.0.9-2.1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/m
cp root/bin/busybox initrd/bin
for module in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
  cp "root/lib/modules/$release/kernel/drivers/$module.ko" initrd/m
  echo "/m/${module##*/}.ko" >>initrd/m/order
done
cat >initrd/init <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </m/order
written() { if dd if=/dev/zero of="$1" bs=4096 seek="$2" count=1 conv=notrunc 2>/dev/null; then echo written; else echo refused; fi; }
flag() { echo "seen: $1: read-only $(blockdev --getro /dev/vda4), a write to it is $(written /dev/vda4 1)"; }
reread() { if blockdev --rereadpt /dev/vda 2>/said; then echo 'done'; else grep -o 'Device or resource busy' /said; fi; }
echo "seen: Linux $(uname -r)"
blockdev --setro /dev/vda4
flag 'sealed'
echo "seen: the same block through the disk: $(written /dev/vda 1281)"
exec 9</dev/vda4
echo "seen: re-read while it is open: $(reread)"
flag 'afterwards'
exec 9<&-
echo "seen: re-read: $(reread)"
flag 'afterwards'
poweroff -f
INIT
chmod +x initrd/init
(cd initrd && find . | "$dir/root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip >initrd.gz
truncate -s 32M disk
root/sbin/sgdisk -n 3:2048:+4M -n 4:0:+4M disk >/dev/null
timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
  -drive if=virtio,format=raw,file=disk -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz \
  -append "console=ttyS0 quiet panic=-1 no_timer_check" >said 2>said.errors || cat said.errors
tr -d '\r' <said | sed -n 's/^.*seen: //p' >seen
cat seen
diff seen - <<'SEEN'
Linux 6.1.0-56-amd64
sealed: read-only 1, a write to it is refused
the same block through the disk: written
re-read while it is open: Device or resource busy
afterwards: read-only 1, a write to it is refused
re-read: done
afterwards: read-only 0, a write to it is written
SEEN
