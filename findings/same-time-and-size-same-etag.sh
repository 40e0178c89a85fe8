#!/bin/sh
# Tools: nginx 1.22.1, Apache 2.4.71, Caddy 2.6.2, lighttpd 1.4.69 (Debian 12's packages).
#
# Behaviour: a payload is replaced, by rename, by another one of the same size and the same time. nginx, Apache and Caddy go on giving the old
# one's ETag, a strong one: they make it of time and size alone. A client that holds the first half and asks for the rest with If-Range
# gets 206 and the second half of the new payload. lighttpd, whose ETag has the inode's number in it, answers 200 and the whole new one.
# One would guess: a strong ETag changes with the bytes, and If-Range is there for just this case.
# Matters because this is what reproducible builds of images make: times are clamped to SOURCE_DATE_EPOCH (or the commit's), and images
# are padded to the slot's size. The download ends with the right length and a wrong hash, and a client that resumes whatever it has never
# gets out of it. Give each payload a name of its own; after a wrong hash, start from the first byte.
set -eu
dir=$(mktemp -d); cd "$dir"; pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
apt-get download -qq -o APT::Sandbox::User=root nginx=1.22.1-9+deb12u11 apache2-bin=2.4.71-1~deb12u1 libapr1=1.7.2-3+deb12u1 \
  libaprutil1=1.6.3-1 caddy=2.6.2-5 lighttpd=1.4.69-1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
chmod 755 . ; export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" HOME="$dir"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
payload() { yes "$1" | head -c 1048576 >new; touch -d @1700000000 new; mv new www/payload; }

mkdir www; payload old
n=$(port); cat >nginx.conf <<END
daemon off; master_process off; pid nginx.pid; error_log nginx.log; events {}
http { access_log off; client_body_temp_path 1; proxy_temp_path 2; fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5;
  server { listen 127.0.0.1:$n; root $dir/www; } }
END
root/usr/sbin/nginx -p "$dir" -c nginx.conf -e nginx.log & pids="$pids $!"
a=$(port); modules="$dir/root/usr/lib/apache2/modules"; cat >apache.conf <<END
ServerRoot $dir
PidFile $dir/apache.pid
ErrorLog $dir/apache.log
Listen 127.0.0.1:$a
ServerName localhost
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
DocumentRoot $dir/www
END
root/usr/sbin/apache2 -X -f "$dir/apache.conf" & pids="$pids $!"
c=$(port); root/usr/bin/caddy file-server --listen "127.0.0.1:$c" --root www >caddy.log 2>&1 & pids="$pids $!"
l=$(port); cat >lighttpd.conf <<END
server.document-root = "$dir/www"
server.bind = "127.0.0.1"
server.port = $l
server.modules = ()
server.stat-cache-engine = "disable"
mimetype.assign = ( "" => "application/octet-stream" )
END
root/usr/sbin/lighttpd -D -f lighttpd.conf >lighttpd.log 2>&1 & pids="$pids $!"
for p in "$n" "$a" "$c" "$l"; do curl -sf -o body --retry 60 --retry-connrefused --retry-delay 1 "http://127.0.0.1:$p/payload"; done

etag() { curl -sI "http://127.0.0.1:$1/payload" | tr -d '\r' | sed -n 's/^[Ee][Tt][Aa][Gg]: //p'; }
for p in "$n" "$a" "$c" "$l"; do etag "$p" >"etag.$p"; done
payload new
# Asks for the second half of the payload whose ETag was kept.
resumes() {
  answer=$(curl -s -o "rest" -w '%{http_code} %{size_download}' -r 524288- -H "If-Range: $(cat "etag.$2")" "http://127.0.0.1:$2/payload")
  [ "$(etag "$2")" = "$(cat "etag.$2")" ] && tag='the same ETag' || tag='another ETag'
  echo "$1: $tag, answers $answer, with bytes of the $(head -c 3 rest) payload"
}
{
  resumes nginx "$n"; resumes Apache "$a"; resumes Caddy "$c"; resumes lighttpd "$l"
} >seen
root/usr/sbin/nginx -v; root/usr/sbin/apache2 -v | head -1; root/usr/bin/caddy version; root/usr/sbin/lighttpd -v
cat seen
diff seen - <<'END'
nginx: the same ETag, answers 206 524288, with bytes of the new payload
Apache: the same ETag, answers 206 524288, with bytes of the new payload
Caddy: the same ETag, answers 206 524288, with bytes of the new payload
lighttpd: another ETag, answers 200 1048576, with bytes of the new payload
END
