#!/bin/sh
# Tool: fw_setenv and fw_printenv of libubootenv 0.3.2 (Debian packages libubootenv-tool and libubootenv0.1 0.3.2-1), on two files.
#
# Behaviour: `fw_setenv --script FILE` wants lines of the form NAME=VALUE. The lines of U-Boot's own tool of that name, NAME VALUE, are
# passed over without a word: status 0, and the environment is what it was. With both forms in one file the one half is set and the other isn't.
# One would guess: the tool replaces U-Boot's under the same names, so that it takes the same scripts, or refuses them.
# Matters because the script is how an updater changes several variables in one write (slot, tries left, upgrade_available): a board whose
# distribution moves to this package goes on installing, reports success, and boots the old slot for ever; or it has the new slot without the
# counter that brings it back. Read the variables back with fw_printenv before the reboot.
set -eu
dir=$(mktemp -d); cd "$dir"
# The tool's own lock, which stays behind it.
lock=/var/lock/fw_printenv.lock; [ ! -e "$lock" ] || lock=
trap 'rm -rf "$dir" ${lock:+"$lock"}' EXIT
apt-get download -qq -o APT::Sandbox::User=root libubootenv-tool=0.3.2-1 libubootenv0.1=0.3.2-1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
tool() { name=$1; shift; LD_LIBRARY_PATH="$dir/root/usr/lib/$(uname -m)-linux-gnu" "root/usr/bin/$name" --config config "$@"; }
dpkg-deb -f libubootenv-tool_*.deb Package Version | xargs
truncate -s 16K first second
printf '%s 0 0x4000\n' "$dir/first" "$dir/second" >config
printf 'slot=A\ntries=0\nupgrade_available=0\n' >defaults
tool fw_setenv --defenv defaults slot A 2>said

# script NAME LINES: what a script changes, and its status
script() {
  printf 'slot=A\ntries=0\nupgrade_available=0\n' >reset; tool fw_setenv --script reset
  printf "$2" >lines; status=0; tool fw_setenv --script lines >said 2>&1 || status=$?
  echo "$1: status $status, $(wc -c <said) bytes said, environment $(tool fw_printenv | sort | xargs)"
}
{
  script 'NAME=VALUE' 'slot=B\ntries=3\nupgrade_available=1\n'
  script 'NAME VALUE' 'slot B\ntries 3\nupgrade_available 1\n'
  script 'slot=B, the others without =' 'slot=B\ntries 3\nupgrade_available 1\n'
} >seen
cat seen
diff seen - <<'SEEN'
NAME=VALUE: status 0, 0 bytes said, environment slot=B tries=3 upgrade_available=1
NAME VALUE: status 0, 0 bytes said, environment slot=A tries=0 upgrade_available=0
slot=B, the others without =: status 0, 0 bytes said, environment slot=B tries=0 upgrade_available=0
SEEN
