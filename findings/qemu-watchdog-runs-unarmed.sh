#!/bin/sh
# Tools: QEMU 7.2 (q35, qemu-system-x86_64 in PATH), Linux 6.1.192 with iTCO_wdt (Debian 12's packages).
#
# Behaviour: the TCO timer of QEMU's ICH9 is not halted after power-on: TCO1_CNT is 0, though nobody has armed it and it doesn't count.
# Linux's iTCO_wdt takes "not halted" for "running", starts it, and the kernel feeds it for ever. With watchdog.open_timeout=N on the
# command line it stops feeding after N s if nobody opens the device: a machine on which nothing has armed a watchdog is reset.
# One would guess: open_timeout is for watchdogs that firmware or loader has armed, and does nothing where none has.
# Matters because A/B images put open_timeout on the command line to end hangs before userspace: for a slot that is good, and without a
# program that opens /dev/watchdog, this resets a healthy machine again and again. It belongs on the line of a trial only, by whoever
# arms. And timeleft or the driver's state tell nobody whether somebody has armed.
set -eu
dir=$(mktemp -d); cd "$dir"; trap 'rm -rf "$dir"' EXIT
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/m
cp root/bin/busybox initrd/bin
drivers="root/lib/modules/$release/kernel/drivers"
cp "$drivers/watchdog/watchdog.ko" "$drivers/watchdog/iTCO_vendor_support.ko" "$drivers/watchdog/iTCO_wdt.ko" \
  "$drivers/mfd/lpc_ich.ko" "$drivers/mfd/intel_pmc_bxt.ko" initrd/m
cat >initrd/init <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
# TCO1_CNT is at port 0x668, where SeaBIOS puts it.
echo "guest: TCO1_CNT is 0x$($b dd if=/dev/port bs=2 skip=820 count=1 2>/dev/null | $b hexdump -e '1/2 "%04x"')"
open_timeout=; for word in $($b cat /proc/cmdline); do case $word in open_timeout=*) open_timeout=$word ;; esac; done
$b insmod /m/watchdog.ko $open_timeout
for m in intel_pmc_bxt iTCO_vendor_support lpc_ich iTCO_wdt; do $b insmod /m/$m.ko; done
cd /sys/class/watchdog/watchdog0; echo "guest: $($b cat identity) is $($b cat state), timeout $($b cat timeout)"
$b sleep 120
echo "guest: nothing has reset it within 120 s"
$b poweroff -f
END
chmod +x initrd/init
(cd initrd && find . | cpio --quiet -o -H newc) | gzip >initrd.gz

# The guest's time passes as its processor works, and at once where it waits.
boots() {
  timeout 300 qemu-system-x86_64 -machine q35,accel=tcg -icount shift=1,sleep=off -global ICH9-LPC.noreboot=false -m 512 \
    -nodefaults -display none -no-reboot -serial stdio -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz \
    -append "console=ttyS0 panic=-1 loglevel=1 no_timer_check $1" >"$2" || { echo "QEMU was ended after 300 s"; cat "$2"; exit 1; }
  grep -a '^guest: ' "$2" | tr -d '\r' | sed "s/^guest/$2/"
}
qemu-system-x86_64 --version | head -1
boots open_timeout=20 with & one=$!
boots '' without
wait "$one"
grep -aq 'TCO1_CNT is 0x0000' with && grep -aq 'iTCO_wdt is inactive' with && ! grep -aq 'nothing has reset' with
grep -aq 'nothing has reset' without
echo "nothing had armed it, and with open_timeout it was reset"
