#!/bin/sh
# Tools: systemd-boot 252.39 (Debian's systemd-boot-efi 252.39-1~deb12u2) on OVMF 2022.11, in QEMU (qemu-system-x86_64 in PATH); Linux 6.1.192.
#
# Behaviour: a boot entry has two `initrd` lines: a compressed initrd, and a cpio that isn't compressed with files of this machine. The second is
# there after the boot if the first one's length is a multiple of 4; else the kernel says "Initramfs unpacking failed: invalid magic at start
# of compressed archive" and boots on without it. systemd-boot hands the lines to the kernel as `initrd=`, whose EFI stub puts the files one
# behind the other; GRUB fills up to 4 bytes between them.
# One would guess: whoever takes several initrds pads them as the kernel wants them, or a kernel that can't unpack one stops.
# Matters because the length changes with each build of the image's initrd: what a node adds of its own (keys, network, credentials) is gone
# after three of four updates, comes back with the fourth, and nothing is wrong with either file. Whoever writes an initrd for others to add to
# fills it up to a multiple of 4, or the addition is compressed as well.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 ovmf=2022.11-6+deb12u2 \
  systemd-boot-efi=252.39-1~deb12u2 mtools=4.0.33-1+really4.0.32-1 dosfstools=4.2-1 cpio=2.13+dfsg-7.1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
PATH="$dir/root/usr/bin:$dir/root/bin:$dir/root/sbin:$PATH"; export MTOOLS_SKIP_CHECK=1
mkdir -p initrd/bin initrd/proc initrd/dev own/own
cp root/bin/busybox initrd/bin
cat >initrd/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox echo "seen: $(/bin/busybox cat /own/file 2>/dev/null || /bin/busybox echo nothing)" >/dev/console
/bin/busybox reboot -f
INIT
chmod +x initrd/init; echo "the node's own file" >own/own/file
packed() { (cd "$1" && find . | LC_ALL=C sort | cpio --quiet -o -H newc); }
packed own >own.cpio
printf 'title os\nlinux /linux\ninitrd /initrd\ninitrd /own\noptions console=ttyS0 loglevel=4 panic=-1 no_timer_check\n' >os.conf
# An initrd whose length leaves this remainder when divided by 4; gzip's header has room for a name of any length.
with_remainder() {
  name=x
  while packed initrd >"$name"; gzip -f "$name"; [ $(($(wc -c <"$name.gz") % 4)) != "$1" ]; do rm "$name.gz"; name=x$name; done
  mv "$name.gz" initrd.gz
}
boots() {
  with_remainder "$1"
  truncate -s 0 esp; truncate -s 64M esp; mkfs.fat -F 32 esp >/dev/null
  mmd -i esp ::EFI ::EFI/BOOT ::loader ::loader/entries
  mcopy -i esp root/usr/lib/systemd/boot/efi/systemd-bootx64.efi ::EFI/BOOT/BOOTX64.EFI
  mcopy -i esp "root/boot/vmlinuz-$release" ::linux; mcopy -i esp initrd.gz ::initrd; mcopy -i esp own.cpio ::own
  mcopy -i esp os.conf ::loader/entries/os.conf
  echo 'timeout 0' >loader.conf; mcopy -i esp loader.conf ::loader/loader.conf
  cp root/usr/share/OVMF/OVMF_VARS_4M.fd vars
  timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
    -drive if=pflash,format=raw,readonly=on,file=root/usr/share/OVMF/OVMF_CODE_4M.fd -drive if=pflash,format=raw,file=vars \
    -drive if=virtio,format=raw,file=esp >said 2>said.errors || cat said.errors
  failed=$(tr -d '\r' <said | grep -a -o 'unpacking failed: .*' || true)
  echo "length modulo 4 is $1: $(tr -d '\r' <said | sed -n 's/^.*seen: //p')${failed:+, }$failed"
}
qemu-system-x86_64 --version | head -1
{
  boots 0
  boots 1
} >seen
cat seen
diff seen - <<'SEEN'
length modulo 4 is 0: the node's own file
length modulo 4 is 1: nothing, unpacking failed: invalid magic at start of compressed archive
SEEN
