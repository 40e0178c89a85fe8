#!/bin/sh
# Tool: objcopy and strip of GNU binutils 2.40 (Debian 12: binutils 2.40-2), on a program that gcc 12 has linked with ld.bfd.
#
# Behaviour: `--remove-section=` of a small allocated note, such as .note.gnu.build-id, also drops the program header PT_GNU_RELRO. There
# is no message, the status is 0, and the program runs as before. `--strip-all`, or the removal of .comment, keeps it.
# One would guess: a note goes, and everything that isn't in it stays as it was.
# Matters to whoever builds the same package twice: the build id is the last thing that differs between two folders, and removing it is
# what comes to mind. The tables of function pointers of a daemon that runs as root, relocated at its start, then stay writable. Write
# an id of the stripped file over the old one instead, or have the linker make none (--build-id=none).
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq binutils-x86-64-linux-gnu=2.40-2 libbinutils=2.40-2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
tool() { name=$1; shift; LD_LIBRARY_PATH=$dir/root/usr/lib/x86_64-linux-gnu "$dir/root/usr/bin/x86_64-linux-gnu-$name" "$@"; }
tool objcopy --version | head -n 1
gcc --version | head -n 1

printf '#include <stdio.h>\nint main(void) { puts("runs"); return 0; }\n' >hello.c
gcc -O2 -pie -Wl,-z,relro,-z,now,--build-id=sha1 hello.c -o hello
relro() { tool readelf -lW "$1" | grep -c GNU_RELRO || true; }

tool strip --strip-all --remove-section=.comment hello -o stripped
tool objcopy --remove-section=.note.gnu.build-id hello without-id 2>said
echo "PT_GNU_RELRO: linked $(relro hello), stripped $(relro stripped), without the build id $(relro without-id); said: '$(cat said)'"
[ "$(relro hello)" = 1 ] && [ "$(relro stripped)" = 1 ]
[ "$(relro without-id)" = 0 ] && [ ! -s said ] && [ "$(./without-id)" = runs ]
gcc -O2 -pie -Wl,-z,relro,-z,now,--build-id=none hello.c -o never
[ "$(relro never)" = 1 ]
