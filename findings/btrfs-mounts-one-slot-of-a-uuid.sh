#!/bin/sh
# Tools: Linux 6.1.192 (Debian 12's linux-image-6.1.0-56-amd64), in QEMU (qemu-system-x86_64 in PATH); mkfs.btrfs 6.2.
#
# Behaviour: two slots have btrfs images with the same UUID. While one is mounted, read-only as slots are, the other one can't be: "Device or
# resource busy" if it is another version, "File exists" if it is a copy of the same image. Each alone mounts. Devices and contents don't
# matter: btrfs takes the UUID for the file system and the second device for another part of it. (Linux 6.18 mounts it, under a UUID of the moment.)
# One would guess: mounting goes by the device that is named, as with ext4, squashfs and erofs.
# Matters because a build that is to be reproducible fixes the UUID (`mkfs.btrfs -U`), and then no version can be mounted beside the one before:
# neither its post-install script runs, nor can a health check look into the other slot, and a repair of a slot with the image that
# runs fails in any case. It is seen on the node only, since on the build machine nothing of that UUID is mounted.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 cpio=2.13+dfsg-7.1 \
  btrfs-progs=6.2-1+deb12u2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/dev initrd/m initrd/a initrd/b one two
cp root/bin/busybox initrd/bin
modules=root/lib/modules/$release/kernel
for each in arch/x86/crypto/crc32c-intel crypto/crc32c_generic lib/libcrc32c lib/raid6/raid6_pq crypto/xor lib/zstd/zstd_compress crypto/blake2b_generic \
  drivers/block/loop fs/btrfs/btrfs; do cp "$modules/$each.ko" initrd/m; done
echo 'version 1' >one/version; echo 'version 2' >two/version
image() {
  truncate -s 16M "$1.img"
  root/sbin/mkfs.btrfs -q --mixed --rootdir "$2" -U "$3" "$1.img" >/dev/null 2>&1
  gzip "$1.img"; mv "$1.img.gz" initrd
}
same=2d3f6f0a-8f2e-4d6b-9d0a-3f1f6a0c7c11
image first one $same; image second two $same; image other two 7a5c9c0e-5e0a-4f7e-8a55-9a0d6b1b2c22
cat >initrd/init <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t devtmpfs dev /dev
for m in crc32c_generic libcrc32c raid6_pq xor zstd_compress blake2b_generic loop btrfs; do $b insmod /m/$m.ko; done
for i in first second other; do $b gunzip -f /$i.img.gz; done
$b losetup /dev/loop0 /first.img; $b losetup /dev/loop1 /second.img; $b losetup /dev/loop2 /other.img
$b cp /first.img /copy.img; $b losetup /dev/loop3 /copy.img
mounted() { said=$($b mount -t btrfs -o ro "$1" "$2" 2>&1) && $b cat "$2/version" || $b echo "${said##*: }"; }
$b echo "guest: $($b uname -r)"
$b echo "guest: the first alone: $(mounted /dev/loop0 /a)"; $b umount /a
$b echo "guest: the second alone: $(mounted /dev/loop1 /b)"; $b umount /b
$b echo "guest: the first again: $(mounted /dev/loop0 /a)"
$b echo "guest: the second beside it: $(mounted /dev/loop1 /b)"
$b echo "guest: a copy of the first beside it: $(mounted /dev/loop3 /b)"
$b echo "guest: one of another UUID beside it: $(mounted /dev/loop2 /b)"
$b poweroff -f
INIT
chmod +x initrd/init
(cd initrd && find . | ../root/bin/cpio --quiet -o -H newc) | gzip >initrd.gz
timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio -kernel "root/boot/vmlinuz-$release" \
  -initrd initrd.gz -append 'console=ttyS0 panic=-1 loglevel=1 no_timer_check' >said 2>said.errors || cat said.errors
tr -d '\r' <said | sed -n 's/^guest: //p' >seen
cat seen
diff seen - <<'SEEN'
6.1.0-56-amd64
the first alone: version 1
the second alone: version 2
the first again: version 1
the second beside it: Device or resource busy
a copy of the first beside it: File exists
one of another UUID beside it: version 2
SEEN
