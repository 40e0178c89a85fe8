#!/bin/sh
# Tools: nginx 1.22.1's proxy_cache, HAProxy 2.6.12's cache (Debian 12's packages).
#
# Behaviour: a client asks a cache for a file from byte 5,000,000 on. The server behind it answers such requests with 206 and the rest.
# nginx, which has the file or hasn't, answers 200 and the whole file, unless the server's 200 says "Accept-Ranges: bytes": a header that
# nothing else needs. HAProxy asks the server for the rest and answers 206 as long as it hasn't the file; once it has, 200 and the whole.
# One would guess: 206 and the rest from whoever has the whole file, as squid, varnish and Apache do.
# Matters because a download that was cut starts from its first byte again, just where a cache is there to spare a thin line, and a client
# that takes 200 for a changed file starts over for ever. Servers of payloads should send Accept-Ranges; clients should skip what they have.
set -eu
dir=$(mktemp -d); cd "$dir"; pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
apt-get download -qq nginx=1.22.1-9+deb12u9 haproxy=2.6.12-1+deb12u3 libopentracing1=1.6.0-4 libopentracing-c-wrapper0=1.1.3-3+b1 \
  liblua5.3-0=5.3.6-2 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

cat >origin.py <<'END'
import re, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
DATA = bytes(range(256)) * 46875
class Files(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted: self.send_header("Content-Range", f"bytes {first}-{len(DATA) - 1}/{len(DATA)}")
        elif self.path == "/told": self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"1"'); self.send_header("Content-Length", str(len(DATA) - first)); self.end_headers()
        self.wfile.write(DATA[first:])
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Files).serve_forever()
END
o=$(port); python3 origin.py "$o" 2>origin.log & pids="$pids $!"
n=$(port); cat >nginx.conf <<END
daemon off; master_process off; pid nginx.pid; error_log nginx.log; events {}
http { access_log off; client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;
  proxy_cache_path cache keys_zone=c:1m; proxy_cache c; proxy_cache_valid 200 1h;
  server { listen 127.0.0.1:$n; location / { proxy_pass http://127.0.0.1:$o; } } }
END
root/usr/sbin/nginx -p "$dir" -c nginx.conf -e nginx.log & pids="$pids $!"
h=$(port); cat >haproxy.cfg <<END
global
  maxconn 64
defaults
  mode http
  timeout connect 30s
  timeout client 30s
  timeout server 30s
cache c
  total-max-size 64
  max-object-size 32000000
frontend f
  bind 127.0.0.1:$h
  http-request cache-use c
  http-response cache-store c
  default_backend o
backend o
  server o 127.0.0.1:$o
END
root/usr/sbin/haproxy -db -f haproxy.cfg & pids="$pids $!"

# asked NAME URL COLD WARM: status and size for the rest of a file, before and after the cache has it
asked() {
  rest() { curl -s -o body -w '%{http_code} %{size_download}' -r 5000000- "$1"; }
  cold=$(rest "$2"); curl -s -o body "$2"; warm=$(rest "$2")
  echo "$1: before $cold, after $warm"
  [ "$cold" = "$3" ] && [ "$warm" = "$4" ]
}
for p in "$o" "$n" "$h"; do until curl -s -o body "http://127.0.0.1:$p/start"; do :; done; done
whole='200 12000000' part='206 7000000'
root/usr/sbin/nginx -v; root/usr/sbin/haproxy -v | head -1
asked "nginx" "http://127.0.0.1:$n/file" "$whole" "$whole"
asked "nginx, told of ranges" "http://127.0.0.1:$n/told" "$part" "$part"
asked "HAProxy" "http://127.0.0.1:$h/file" "$part" "$whole"
