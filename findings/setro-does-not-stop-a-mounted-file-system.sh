#!/bin/sh
# Tools: Linux 6.1.192 with busybox 1.35.0's blockdev (Debian 12's packages), x86-64, in QEMU (qemu-system-x86_64 in PATH).
#
# Behaviour: `blockdev --setro` (BLKROSET) on a disk whose file system is mounted for writing ends with 0, and `--getro` then says 1. The file
# system goes on writing: a file is changed, fsync and umount end with 0, and the new bytes are on the disk. The kernel says "Trying to
# write to read-only block-device" in its log and writes all the same. Only writes to the device's node, and remounting, are refused.
# One would guess: nothing writes to a device that says that it is read-only; or it can't be made so while it is in use.
# Matters because updaters set a slot read-only between writing and booting it, and take the flag for proof that what they read back and
# hashed stays as it is. A mount that an administrator or a hook has left is not stopped, and dm-verity finds out at the boot. Open the device
# with O_EXCL (as blkdiscard does): that fails while it is mounted.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/m initrd/mnt
cp root/bin/busybox initrd/bin
modules='drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_modern_dev drivers/virtio/virtio_pci_legacy_dev
  drivers/virtio/virtio_pci drivers/block/virtio_blk lib/crc16 crypto/crc32c_generic fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4'
for module in $modules; do
  cp "root/lib/modules/$release/kernel/$module.ko" initrd/m
  echo "/m/${module##*/}.ko" >>initrd/m/order
done
cat >initrd/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </m/order
does() { "$@" >/said 2>&1; echo "seen: $*: status $? $(cat /said)"; }
change() { echo 'written after --setro' >/mnt/file && sync /mnt/file; }
mke2fs /dev/vda >/said 2>&1
mount -t ext4 /dev/vda /mnt
echo 'written before' >/mnt/file; sync
echo "seen: Linux $(uname -r)"
does blkdiscard /dev/vda
does blockdev --setro /dev/vda
does blockdev --getro /dev/vda
does change
does mount -o remount,ro /mnt
does mount -o remount,rw /mnt
does umount /mnt
dd if=/dev/zero of=/dev/vda bs=4k count=1 2>/said; echo "seen: dd to the device: $(grep -o 'not permitted' /said)"
echo "seen: log: $(dmesg | grep -o 'Trying to write to read-only block-device' | head -n 1)"
poweroff -f
END
chmod +x initrd/init
(cd initrd && find . | "$dir/root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip >initrd.gz
truncate -s 16M disk
timeout 180 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
  -drive if=virtio,format=raw,file=disk \
  -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz \
  -append 'console=ttyS0 quiet panic=-1 no_timer_check' >said 2>said.errors || cat said.errors
tr -d '\r' <said | sed -n 's/ *$//; s/^.*seen: //p' >seen
echo "on the disk: $(grep -a -o 'written after --setro' disk | head -1)" >>seen
cat seen
diff seen - <<'END'
Linux 6.1.0-56-amd64
blkdiscard /dev/vda: status 1 blkdiscard: can't open '/dev/vda': Device or resource busy
blockdev --setro /dev/vda: status 0
blockdev --getro /dev/vda: status 0 1
change: status 0
mount -o remount,ro /mnt: status 0
mount -o remount,rw /mnt: status 255 mount: mounting /dev/vda on /mnt failed: Permission denied
umount /mnt: status 0
dd to the device: not permitted
log: Trying to write to read-only block-device
on the disk: written after --setro
END
