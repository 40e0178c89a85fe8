#!/bin/sh
# Tools: lighttpd 1.4.69, busybox httpd 1.35.0, Caddy 2.6.2 (Debian 12's packages).
#
# Behaviour: one request for twelve ranges of a file, far apart. lighttpd answers 206 with ten parts and leaves the last two out without a
# word. busybox answers 200 with the whole file. Caddy answers 206 with all twelve. Of `bytes=-0` Caddy makes a 206 without a byte.
# One would guess: all parts, or status 200 and the whole file; 416 for a range of nothing.
# Matters because delta formats that fetch chunks by ranges save round trips by asking for several at once. A client that doesn't count the
# parts it gets leaves holes in a slot. One range a request works with each of them.
set -eu
dir=$(mktemp -d); cd "$dir"; pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
apt-get download -qq lighttpd=1.4.69-1 'busybox=1:1.35.0-4+deb12u1+b1' caddy=2.6.2-5 libxxhash0=0.8.1-1 libnettle8=3.8.1-2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" HOME="$dir"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
mkdir www; head -c 1048576 /dev/urandom >www/file

l=$(port); printf 'server.document-root="%s/www"\nserver.port=%s\nserver.bind="127.0.0.1"\nserver.modules=("mod_staticfile")\n' "$dir" "$l" >lighttpd.conf
root/usr/sbin/lighttpd -m root/usr/lib/lighttpd -D -f lighttpd.conf >lighttpd.log 2>&1 & pids="$pids $!"
b=$(port); root/bin/busybox httpd -f -p "127.0.0.1:$b" -h www >busybox.log 2>&1 & pids="$pids $!"
c=$(port); root/usr/bin/caddy file-server --root www --listen "127.0.0.1:$c" >caddy.log 2>&1 & pids="$pids $!"

ranges=$(python3 -c 'print(",".join(f"{n * 80000}-{n * 80000 + 99}" for n in range(12)))')
for entry in "lighttpd $l 206 10" "busybox $b 200 0" "caddy $c 206 12"; do
  set -- $entry
  until curl -s -o /dev/null "http://127.0.0.1:$2/file"; do :; done
  status=$(curl -s -o body -w '%{http_code}' -r "$ranges" "http://127.0.0.1:$2/file")
  parts=$(grep -aci '^content-range: bytes' body || true)
  echo "$1: twelve ranges: status $status, $parts parts, $(wc -c <body) bytes"
  [ "$status" = "$3" ] && [ "$parts" = "$4" ]
done
zero=$(curl -s -o body -w '%{http_code} %{size_download}' -H 'Range: bytes=-0' "http://127.0.0.1:$c/file")
echo "caddy, bytes=-0: status and bytes $zero"
[ "$zero" = '206 0' ]
