#!/bin/sh
# Tools: systemd-boot 252.39 (Debian's systemd-boot-efi 252.39-1~deb12u2) on OVMF 2022.11, in QEMU (qemu-system-x86_64 in PATH).
#
# Behaviour: an entry has used up its tries (os-2+0-3.conf), and beside it is one that is good (os-1.conf). systemd-boot chooses os-1. If
# loader.conf says `default os-2*`, it chooses os-2, at every boot, and goes on counting: +0-4. If it says `default os-2.conf`, it chooses
# os-1: the pattern is compared with the file's name, counters and all.
# One would guess: an entry without tries is chosen when nothing else is left, and `default` chooses among the others; a name without
# counters means the entry, whatever its counters are.
# Matters because installers write a default to make sure that the new version is what boots, with a star since the manual's examples
# have one: the trial then has no end, and a machine whose new version hangs never comes back by itself. Leave `default` out and let the
# versions sort, or name the entry as it will be called once it is good.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 ovmf=2022.11-6+deb12u2 \
  systemd-boot-efi=252.39-1~deb12u2 mtools=4.0.33-1+really4.0.32-1 dosfstools=4.2-1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
PATH="$dir/root/usr/bin:$dir/root/sbin:$PATH"; export MTOOLS_SKIP_CHECK=1
mkdir -p initrd/bin initrd/proc initrd/dev
cp root/bin/busybox initrd/bin
cat >initrd/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for word in $(/bin/busybox cat /proc/cmdline); do case $word in entry=*) /bin/busybox echo "seen: ${word#entry=}" >/dev/console ;; esac; done
/bin/busybox reboot -f
INIT
chmod +x initrd/init
(cd initrd && find . | "$dir/root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip >initrd.gz
for entry in os-1 os-2; do
  printf 'title %s\nlinux /linux\ninitrd /initrd\noptions entry=%s console=ttyS0 quiet panic=-1 no_timer_check\n' $entry $entry >$entry
done
# The ESP, and a boot of it: which entry was it, and what is os-2 called afterwards?
boots() {
  truncate -s 0 esp; truncate -s 64M esp; mkfs.fat -F 32 esp >/dev/null
  mmd -i esp ::EFI ::EFI/BOOT ::loader ::loader/entries
  mcopy -i esp root/usr/lib/systemd/boot/efi/systemd-bootx64.efi ::EFI/BOOT/BOOTX64.EFI
  mcopy -i esp "root/boot/vmlinuz-$release" ::linux; mcopy -i esp initrd.gz ::initrd
  mcopy -i esp os-1 ::loader/entries/os-1.conf; mcopy -i esp os-2 ::loader/entries/os-2+0-3.conf
  printf 'timeout 0\n%s\n' "$1" >loader.conf; mcopy -i esp loader.conf ::loader/loader.conf
  cp root/usr/share/OVMF/OVMF_VARS_4M.fd vars
  timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
    -drive if=pflash,format=raw,readonly=on,file=root/usr/share/OVMF/OVMF_CODE_4M.fd -drive if=pflash,format=raw,file=vars \
    -drive if=virtio,format=raw,file=esp >said 2>said.errors || cat said.errors
  echo "${1:-no default}: $(tr -d '\r' <said | sed -n 's/^.*seen: //p') boots, then there is $(mdir -b -i esp ::loader/entries | grep -o 'os-2.*')"
}
qemu-system-x86_64 --version | head -1
{
  boots ''
  boots 'default os-2*'
  boots 'default os-2.conf'
} >seen
cat seen
diff seen - <<'SEEN'
no default: os-1 boots, then there is os-2+0-3.conf
default os-2*: os-2 boots, then there is os-2+0-4.conf
default os-2.conf: os-1 boots, then there is os-2+0-3.conf
SEEN
