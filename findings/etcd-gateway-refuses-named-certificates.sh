#!/bin/sh
# Tool: etcd 3.4.23's JSON gateway (Debian package etcd-server 3.4.23-4+b4), with client certificates.
#
# Behaviour: until authentication is switched on, a client certificate with a common name is as good as one without. From then on, each
# request on a connection with a named certificate is refused, also with a valid token of root's in it; the same token on a connection
# with a certificate without a common name is taken. The refusal says that the name "will be ignored"; in fact the request is refused.
# One would guess: the certificate only proves the connection, and the token says who asks (or the common name is the user, as in gRPC).
# Matters because locksmith's API v2 and etcdctl take the common name as the user, so that fleets have such certificates: a reboot
# manager that moves to API v3 with them can neither take nor give back its lock from the moment at which users are switched on.
set -eu
dir=$(mktemp -d); cd "$dir"
apt-get download -qq etcd-server=3.4.23-4+b4 >/dev/null 2>&1
dpkg-deb -x etcd-server_*.deb root
root/usr/bin/etcd --version | head -1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
peer=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/O=example" -keyout ca.key -out ca.crt 2>/dev/null
# certificate NAME SUBJECT
certificate() {
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >ext
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out "$1.crt" 2>/dev/null
}
certificate server "/O=example"
certificate named "/O=example/CN=root"
certificate nameless "/O=example"

root/usr/bin/etcd --data-dir data --listen-client-urls "https://127.0.0.1:$port" --advertise-client-urls "https://127.0.0.1:$port" \
  --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
  --initial-cluster "default=http://127.0.0.1:$peer" --cert-file server.crt --key-file server.key \
  --client-cert-auth --trusted-ca-file ca.crt >log 2>&1 &
etcd=$!
trap 'kill $etcd; wait $etcd 2>/dev/null || true; rm -rf "$dir"' EXIT

token=
# ask CERTIFICATE METHOD BODY
ask() {
  curl -s --cacert ca.crt --cert "$1.crt" --key "$1.key" -H "Authorization: $token" "https://127.0.0.1:$port/v3/$2" -d "$3"
}
until ask nameless kv/range '{"key":"YQ=="}' >/dev/null; do kill -0 $etcd; done

range='{"key":"YQ=="}'
taken() { case $1 in *'"header"'*) echo taken ;; *) echo "refused: $(printf %s "$1" | tr '\n' ' ' | cut -c1-160)" ;; esac; }
echo "before users are on: named $(taken "$(ask named kv/range "$range")"), nameless $(taken "$(ask nameless kv/range "$range")")"
ask nameless auth/user/add '{"name":"root","password":"pass"}' >/dev/null
ask nameless auth/role/add '{"name":"root"}' >/dev/null
ask nameless auth/user/grant '{"user":"root","role":"root"}' >/dev/null
ask nameless auth/enable '{}' >/dev/null
token=$(ask nameless auth/authenticate '{"name":"root","password":"pass"}' | grep -o '"token":"[^"]*"' | cut -d'"' -f4)
named=$(taken "$(ask named kv/range "$range")")
nameless=$(taken "$(ask nameless kv/range "$range")")
echo "with root's token: named $named"
echo "with root's token: nameless $nameless"
[ "$nameless" = taken ]
case $named in refused*) ;; *) exit 1 ;; esac
