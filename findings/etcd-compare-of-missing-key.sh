#!/bin/sh
# Tool: etcd 3.4.23's JSON gateway (Debian package etcd-server 3.4.23-4+b4).
#
# Behaviour: in a transaction, of a key that doesn't exist both `VALUE EQUAL ""` and `VALUE NOT_EQUAL "x"` are false. A compare whose
# operand is misspelt is taken as a comparison with 0. A misspelt branch (`sucess`) is dropped: status 200, `succeeded` true, nothing written.
# One would guess: a missing key equals the empty value or at least differs from any other; unknown fields are errors.
# Matters because a reboot lock in etcd begins with "create it if it isn't there": only CREATE (or VERSION) compared with 0 does that, and a
# lock that was "taken" by a misspelt request is held by nobody. Read the key back, and treat a missing `succeeded` as a lost race.
set -eu
dir=$(mktemp -d); cd "$dir"
apt-get download -qq etcd-server=3.4.23-4+b4 >/dev/null 2>&1
dpkg-deb -x etcd-server_*.deb root
root/usr/bin/etcd --version | head -1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
peer=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
root/usr/bin/etcd --data-dir data --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
  --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
  --initial-cluster "default=http://127.0.0.1:$peer" >log 2>&1 &
etcd=$!
trap 'kill $etcd; wait $etcd 2>/dev/null || true; rm -rf "$dir"' EXIT
until curl -sf "http://127.0.0.1:$port/health" >/dev/null; do kill -0 $etcd; done

ask() { curl -s "http://127.0.0.1:$port/v3/$1" -d "$2"; }
key=$(printf lock | base64); other=$(printf other | base64); x=$(printf x | base64)
transaction() { ask kv/txn "{\"compare\":[$1],\"$2\":[{\"requestPut\":{\"key\":\"$3\",\"value\":\"$x\"}}]}"; }
succeeded() { case $1 in *'"succeeded":true'*) echo yes ;; *) echo no ;; esac; }

equal=$(succeeded "$(transaction "{\"key\":\"$key\",\"target\":\"VALUE\",\"result\":\"EQUAL\",\"value\":\"\"}" success "$key")")
differs=$(succeeded "$(transaction "{\"key\":\"$key\",\"target\":\"VALUE\",\"result\":\"NOT_EQUAL\",\"value\":\"$x\"}" success "$key")")
echo "missing key: VALUE EQUAL \"\" $equal, VALUE NOT_EQUAL \"x\" $differs"
operand=$(succeeded "$(transaction "{\"key\":\"$key\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revison\":\"7\"}" success "$key")")
echo "missing key: CREATE EQUAL with a misspelt operand of 7: $operand"
branch=$(transaction "{\"key\":\"$other\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"createRevision\":\"0\"}" sucess "$other")
there=$(ask kv/range "{\"key\":\"$other\"}")
echo "misspelt branch: succeeded $(succeeded "$branch"), the key afterwards: $there"

[ "$equal$differs$operand" = nonoyes ]
[ "$(succeeded "$branch")" = yes ]
case $there in *kvs*) exit 1 ;; esac
