#!/bin/sh
# Tool: cgpt of Debian (package cgpt 0~R106-15054.B-1), with sgdisk 1.0.9 to make the table.
#
# Behaviour: for a partition of Flatcar's slot type, `cgpt add -P -T -S` writes priority, tries and successful, and `show -i N -P`
# prints them; but `show` without a letter lists no attributes for it, and `prioritize` refuses it ("not a ChromeOS kernel"), exit
# status 1.
# One would guess: one tool, one rule; or that a type whose attributes it refuses to show can't be given any.
# Matters because a node's documents and scripts (Flatcar's cgpt is patched) read `cgpt show`: with Debian's, a slot looks as if it had
# no attributes although it boots next. Ask for each field by its letter.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq gdisk=1.0.9-2.1 'cgpt=0~R106-15054.B-1' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
cgpt() { "$dir/root/usr/bin/cgpt" "$@"; }
echo 'cgpt 0~R106-15054.B-1'

truncate -s 64M disk.img
"$dir/root/sbin/sgdisk" -n 3:2048:+8M -t 3:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6 disk.img >/dev/null
cgpt add -i 3 -P 3 -T 2 -S 1 disk.img
fields="$(cgpt show -i 3 -P disk.img) $(cgpt show -i 3 -T disk.img) $(cgpt show -i 3 -S disk.img)"
echo "priority, tries, successful, each by its letter: $fields"
lines=$(cgpt show disk.img | grep -ci 'attr' || true)
echo "lines of attributes in show: $lines"
refusal=$(cgpt prioritize -i 3 disk.img 2>&1) && status=0 || status=$?
echo "prioritize: exit status $status, $refusal"

[ "$fields" = '3 2 1' ] && [ "$lines" = 0 ] && [ "$status" = 1 ]
case $refusal in *'not a ChromeOS kernel'*) ;; *) exit 1 ;; esac
