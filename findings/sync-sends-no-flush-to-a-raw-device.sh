#!/bin/sh
# Tools: Linux 6.1.192 with busybox 1.35.0's sync, dd and blockdev (Debian 12's packages), x86-64, on a virtio disk of QEMU's that says it
# has a volatile cache (qemu-system-x86_64 in PATH).
#
# Behaviour: an image is written to a disk that carries no file system. `sync` (sync(2)), `sync -f DEVICE` (syncfs(2): that is the file
# system where the device's node lies) and `blockdev --flushbufs DEVICE` end with 0, and none of them sends the disk a flush request: they
# write at most what the kernel holds, into the disk's cache. `sync DEVICE` (fsync(2)) and `dd conv=fsync` send one.
# One would guess: `sync` is the strongest of them, and --flushbufs does what it is called.
# Matters because "dd, then sync" is how images get into slots in scripts, guides and hooks. A cut of power after the loader's switch can
# find the new slot chosen and its last blocks gone. Only fsync of the device itself is right before a switch.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/m
cp root/bin/busybox initrd/bin
drivers="root/lib/modules/$release/kernel/drivers"
for module in virtio/virtio_ring virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
  cp "$drivers/$module.ko" initrd/m
done
cat >initrd/init <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do insmod "/m/$module.ko"; done
flushes() { awk '{ print $16 }' /sys/block/vda/stat; }
image() { dd if=/dev/urandom of=/dev/vda bs=1M count=2 "$@" 2>/dev/null; }
# Says how many flush requests reach the disk while a command runs; the disk has been written to before.
counts() { before=$(flushes); "$@" && echo "seen: $*: status 0, flushes $(($(flushes) - before))"; }
echo "seen: Linux $(uname -r), cache of the disk: $(cat /sys/block/vda/queue/write_cache)"
image; counts sync
image; counts sync -f /dev/vda
image; counts blockdev --flushbufs /dev/vda
image; counts sync /dev/vda
counts image conv=fsync
poweroff -f
END
chmod +x initrd/init
(cd initrd && find . | "$dir/root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip >initrd.gz
truncate -s 16M disk
timeout 180 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
  -drive if=virtio,format=raw,file=disk,cache=writeback \
  -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz \
  -append 'console=ttyS0 quiet panic=-1 no_timer_check' >said 2>said.errors || cat said.errors
tr -d '\r' <said | sed -n 's/^.*seen: //p' >seen
cat seen
diff seen - <<'END'
Linux 6.1.0-56-amd64, cache of the disk: write back
sync: status 0, flushes 0
sync -f /dev/vda: status 0, flushes 0
blockdev --flushbufs /dev/vda: status 0, flushes 0
sync /dev/vda: status 0, flushes 1
image conv=fsync: status 0, flushes 1
END
