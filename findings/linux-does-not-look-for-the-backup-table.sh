#!/bin/sh
# Tools: Linux 6.1.192, and sgdisk 1.0.9, sfdisk 2.38.1, blkid 2.38.1 and parted 3.5 (Debian 12's packages), x86-64, in QEMU
# (qemu-system-x86_64 in PATH).
#
# Behaviour: the primary header of a GPT is damaged, as a torn write leaves it; the backup at the end of the disk is sound. sgdisk, sfdisk and
# parted list both partitions, from the backup, and blkid calls the disk a gpt. The kernel makes no partition at all. It looks for a backup
# only with `gpt` on its command line: then it finds both.
# One would guess: the backup is there for just this case, and what reads the table in userspace is what the kernel reads.
# Matters because whoever changes attributes writes the primary header each time. A power cut within that write leaves a machine that GRUB still
# starts (it takes the backup; UEFI firmware repairs the primary first) and that finds no root file system, at each boot. Nothing that could
# repair the table runs there. Put `gpt` on the command line of images whose slots are chosen by attributes.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 gdisk=1.0.9-2.1 \
  util-linux=2.38.1-5+deb12u3 fdisk=2.38.1-5+deb12u3 parted=3.5-3+deb12u1 libparted2=3.5-3+deb12u1 libdevmapper1.02.1 >/dev/null 2>&1
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
echo "seen: $(grep -c ' vda[0-9]' /proc/partitions) partitions"
poweroff -f
INIT
chmod +x initrd/init
(cd initrd && find . | "$dir/root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip >initrd.gz
truncate -s 32M disk
root/sbin/sgdisk -n 3:2048:+4M -n 4:0:+4M disk >/dev/null
printf X | dd of=disk bs=1 seek=520 conv=notrunc status=none           # the header's revision: its checksum is wrong now
PATH="$dir/root/sbin:$dir/root/usr/sbin:$PATH" libraries="$dir/root/lib/x86_64-linux-gnu:$dir/root/usr/lib/x86_64-linux-gnu"; export LC_ALL=C
kernel() {
  timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
    -drive if=virtio,format=raw,file=disk -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz \
    -append "console=ttyS0 quiet panic=-1 no_timer_check$1" >said 2>said.errors || cat said.errors
  echo "the kernel${1:+ with}$1: $(tr -d '\r' <said | sed -n 's/^.*seen: //p')"
}
qemu-system-x86_64 --version | head -1
{
  echo "sgdisk: $(sgdisk -p disk 2>said | grep -c '^ *[0-9]') partitions"
  echo "sfdisk: $(sfdisk -d disk 2>said | grep -c 'start=') partitions"
  echo "parted: $(LD_LIBRARY_PATH=$libraries parted -s disk print 2>said | grep -c '^ [0-9]') partitions"
  echo "blkid: $(blkid -p -o value -s PTTYPE disk)"
  kernel ''
  kernel ' gpt'
} >seen
cat seen
diff seen - <<'SEEN'
sgdisk: 2 partitions
sfdisk: 2 partitions
parted: 2 partitions
blkid: gpt
the kernel: 0 partitions
the kernel with gpt: 2 partitions
SEEN
