#!/bin/sh
# Tools: Linux 6.1.192 with softdog (Debian 12's packages), x86-64, in QEMU 7.2 (qemu-system-x86_64 in PATH).
#
# Behaviour: softdog's time-out of 5 s resets a machine whose programs do nothing. A kernel that has panicked, and is to stand still
# (kernel.panic=0, the default), is not reset, although it enables interrupts again and goes on for ever: on x86 a panic has stopped
# the local APIC of its own processor, and with it the timer that would call softdog.
# One would guess: softdog ends whatever its feeder doesn't survive, as long as the kernel handles interrupts.
# Matters because softdog is the watchdog that every machine has, and a panic the most common end of a kernel. An A/B image that relies
# on it still needs panic=N on the kernel's command line, or a watchdog in hardware.
set -eu
dir=$(mktemp -d); cd "$dir"; trap 'rm -rf "$dir"' EXIT
release=6.1.0-56-amd64
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$release=6.1.192-2" busybox-static=1:1.35.0-4+deb12u1+b1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
mkdir -p initrd/bin initrd/proc initrd/sys initrd/dev initrd/m
cp root/bin/busybox initrd/bin
drivers="root/lib/modules/$release/kernel/drivers"
cp "$drivers/watchdog/watchdog.ko" "$drivers/watchdog/softdog.ko" initrd/m
cat >initrd/init <<'END'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev
$b insmod /m/watchdog.ko; $b insmod /m/softdog.ko soft_margin=5
exec 3>/dev/watchdog0
echo "guest: $($b cat /sys/class/watchdog/watchdog0/identity) is $($b cat /sys/class/watchdog/watchdog0/state)"
case $($b cat /proc/cmdline) in *crash*) echo c >/proc/sysrq-trigger ;; esac
while :; do $b sleep 3600; done
END
chmod +x initrd/init
(cd initrd && find . | cpio --quiet -o -H newc) | gzip >initrd.gz

# Ends with the machine, or after as many seconds.
boots() {
  timeout "$1" qemu-system-x86_64 -machine q35,accel=tcg -m 512 -nodefaults -display none -no-reboot -serial stdio \
    -kernel "root/boot/vmlinuz-$release" -initrd initrd.gz -append "console=ttyS0 loglevel=4 no_timer_check $2" >"$3"
}
qemu-system-x86_64 --version | head -1
boots 300 '' idle
grep -aq 'Software Watchdog is active' idle
echo "idle: reset by softdog"
status=0; boots 120 crash panicked || status=$?
grep -aq 'Software Watchdog is active' panicked && grep -aq 'Kernel panic' panicked && [ "$status" = 124 ]
echo "panicked: not reset within 120 s"
