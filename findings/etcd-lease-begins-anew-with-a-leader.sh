#!/bin/sh
# Tool: etcd 3.4.23, a cluster of three on this machine (Debian package etcd-server 3.4.23-4+b4).
#
# Behaviour: a lease of 60 s has less than 50 left when the cluster's leader is stopped. The next leader gives it its whole time again: some
# 60 s are left, and nobody has renewed it. A key of API v2 with a ttl of 60, made at the same time, keeps its end.
# One would guess: a lease ends as many seconds after its last renewal as it was granted for.
# Matters because reboot locks in etcd are given a lease so that a dead holder doesn't stop a fleet, and here the members of etcd are the nodes
# that reboot: each reboot of a leader gives a dead holder's lock its whole time again. A lease of an hour, in a cluster whose members crash
# or reboot more often than that, never ends. Who needs a lock that ends writes the end into its value; and "held for TTL at most" is no
# promise to a health check that waits for it.
set -eu
dir=$(mktemp -d); cd "$dir"; pids=
trap 'for pid in $pids; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$dir"' EXIT
apt-get download -qq -o APT::Sandbox::User=root etcd-server=3.4.23-4+b4 >/dev/null 2>&1
dpkg-deb -x etcd-server_*.deb root
root/usr/bin/etcd --version | head -1
# Six ports, all of them different.
ports=$(python3 -c 'import socket
held = [socket.socket() for _ in range(6)]
for each in held: each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))')
# shellcheck disable=SC2086
set -- $ports
cluster="1=http://127.0.0.1:$1,2=http://127.0.0.1:$2,3=http://127.0.0.1:$3"
member() {                                       # name, port for members, port for clients
  root/usr/bin/etcd --name "$1" --enable-v2 --data-dir "data$1" --initial-cluster "$cluster" \
    --listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" \
    --listen-client-urls "http://127.0.0.1:$3" --advertise-client-urls "http://127.0.0.1:$3" >"log$1" 2>&1 &
  pids="$pids $!"; echo "$!" >"pid$3"
}
member 1 "$1" "$4"; member 2 "$2" "$5"; member 3 "$3" "$6"
clients="$4 $5 $6"
# field URL BODY NAME: a number of a member's answer, or nothing
field() { curl -s --max-time 10 "$1" -d "$2" | sed -n "s/.*\"$3\":\"\{0,1\}\([0-9]*\).*/\1/p"; }
# The client port of the member that is the leader, as the member at port $1 says.
leader() {
  chosen=$(field "http://127.0.0.1:$1/v3/maintenance/status" '{}' leader)
  for each in $clients; do [ "$(field "http://127.0.0.1:$each/v3/maintenance/status" '{}' member_id)" != "$chosen" ] || echo "$each"; done
}
lease() { field "http://127.0.0.1:$1/v3/lease/timetolive" '{"ID":77}' TTL; }
key() { curl -s --max-time 10 "http://127.0.0.1:$1/v2/keys/lock" | sed -n 's/.*"ttl":\([0-9]*\).*/\1/p'; }

for each in $clients; do until curl -s "http://127.0.0.1:$each/health" | grep -q true; do sleep 1; done; done
first=$(leader "$4")
for each in $clients; do [ "$each" = "$first" ] || other=$each; done
curl -s -o granted "http://127.0.0.1:$other/v3/lease/grant" -d '{"ID":77,"TTL":60}'
curl -s -o put -X PUT "http://127.0.0.1:$other/v2/keys/lock" -d value=node -d ttl=60
until left=$(lease "$other"); [ "$left" -lt 50 ]; do sleep 1; done
left_key=$(key "$other")
kill "$(cat "pid$first")"; clients=$(echo "$clients" | sed "s/$first//")
until second=$(leader "$other"); [ -n "$second" ] && after=$(lease "$other") && [ -n "$after" ]; do sleep 1; done
after_key=$(key "$other")
echo "under the first leader: lease $left s, key of API v2 $left_key s"
echo "under the next leader: lease $after s, key of API v2 $after_key s"
[ "$left" -lt 50 ] && [ "$after" -gt 52 ] && [ "$after_key" -le "$left_key" ]
