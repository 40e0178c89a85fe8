#!/bin/sh
# Tools: grub-editenv 2.06 (Debian 12's grub-common 2.06-13+deb12u2), watched by strace 6.1 (6.1-0.1).
#
# Behaviour: `grub-editenv FILE set NAME=VALUE` empties the file (O_TRUNC), writes all of its 1024 bytes and flushes them: a process that is
# killed at that write leaves a file of 0 bytes, of which grub-editenv says "invalid environment block". Its `create` works on FILE.new and
# renames that.
# One would guess: the block has a fixed size so that a change overwrites it in place, as GRUB's own save_env does, which never frees a sector;
# or it is renamed like a new one.
# Matters because several A/B schemes (RAUC's GRUB backend, boot counters of distributions) keep in this file which slot boots next and how many
# tries are left. What decides that must have two copies, or be replaced as a whole: after a cut there, neither the old nor the new order is known.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
export LC_ALL=C
for package in grub-common=2.06-13+deb12u2 strace=6.1-0.1 libunwind8 libefiboot1 libefivar1 libdevmapper1.02.1 libfuse3-3; do
  apt-get -qq -o APT::Sandbox::User=root download "$package" >/dev/null 2>&1
done
for package in *.deb; do dpkg-deb -x "$package" root; done
LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu:$dir/root/lib/x86_64-linux-gnu; export LD_LIBRARY_PATH
editenv=$dir/root/usr/bin/grub-editenv strace=$dir/root/usr/bin/strace
"$editenv" --version; "$strace" --version | head -1

"$editenv" grubenv create
"$editenv" grubenv set slot=A
echo "before: $(wc -c <grubenv) bytes, $("$editenv" grubenv list)"
"$strace" -e trace=openat,write,fsync,rename -o trace "$editenv" grubenv set slot=B
grep -E 'grubenv|^write|^fsync|^rename' trace | cut -c1-70
grep -q '"grubenv", O_WRONLY|O_CREAT|O_TRUNC' trace
if grep -q '^rename' trace; then exit 1; fi
"$strace" -e trace=openat,rename -o trace "$editenv" other create
grep -q '^rename("other.new", "other")' trace

# The process ends where it would write.
"$strace" -o trace -e trace=write -e inject=write:signal=KILL:when=1 "$editenv" grubenv set slot=C 2>/dev/null || true
echo "after a process that was killed at its write: $(wc -c <grubenv) bytes, $("$editenv" grubenv list 2>&1 | sed 's/.*error: //')"
[ "$(wc -c <grubenv)" = 0 ]
"$editenv" grubenv list 2>&1 | grep -q 'invalid environment block'
