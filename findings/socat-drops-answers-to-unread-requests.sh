#!/bin/sh
# Tool: socat 1.7.4.4 (Debian package socat 1.7.4.4-2), and ncat 7.93 beside it.
#
# Behaviour: a program that socat runs for each connection (`fork`, SYSTEM: or EXEC:) answers without reading what it was asked, and ends.
# In less than one connection of a hundred it ends just before socat hands it the request: socat gets "Broken pipe", ends too, and drops the
# answer, which lies in its other pipe. The client sees the connection closed without a byte. A program that reads one line first loses
# nothing; ncat passes every answer on.
# One would guess: the two directions are independent, and what was said before the other side hung up is delivered.
# Matters because such a server is what flatcar-update gives the update engine to ask: now and then a check finds no answer there, by
# chance. Ask again before calling an update failed; in a server of one's own, read the request.
set -eu
dir=$(mktemp -d); cd "$dir"
server=
trap '[ -z "$server" ] || kill $server; rm -rf "$dir"' EXIT
apt-get download -qq socat=1.7.4.4-2 ncat=7.93+dfsg1-1 >/dev/null 2>&1
for package in ./*.deb; do dpkg-deb -x "$package" root; done
root/usr/bin/socat -V | sed -n 2p
root/usr/bin/ncat --version 2>&1 | grep Ncat

answer='printf "HTTP/1.1 200 OK\n\nanswer\n"'
echo "$answer" >unread.sh
printf '%s\n' 'read -r _' "$answer" >read.sh
free() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# ask PORT MOST: asks so many times at most, until an answer is lost; says how often it has asked, and whether one was.
ask() {
  python3 - "$1" "$2" <<'PYTHON'
import socket, sys, time
port, most = int(sys.argv[1]), int(sys.argv[2])
def connect():
    while True:
        try: return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError: time.sleep(0.05)
for number in range(1, most + 1):
    with connect() as client:
        client.sendall(b"POST /update HTTP/1.1\r\nContent-Length: 900\r\n\r\n" + b"x" * 900)
        got = b""
        try:
            while part := client.recv(4096): got += part
        except ConnectionResetError: pass
    if got != b"HTTP/1.1 200 OK\n\nanswer\n":
        print("lost after", number, "with", len(got), "bytes")
        break
else:
    print("none lost of", most)
PYTHON
}

# with_socat PORT PROGRAM MOST
with_socat() (
  root/usr/bin/socat "TCP4-LISTEN:$1,bind=127.0.0.1,reuseaddr,fork" "SYSTEM:sh $2" 2>>log & server=$!
  trap 'kill $server' EXIT
  ask "$1" "$3"
)
unread=$(with_socat "$(free)" unread.sh 6000); echo "socat, request unread: $unread"
grep -o "Broken pipe" log | head -1
read=$(with_socat "$(free)" read.sh 600); echo "socat, one line read: $read"
port=$(free)
root/usr/bin/ncat --keep-open --sh-exec 'sh unread.sh' --listen 127.0.0.1 "$port" 2>/dev/null & server=$!
ncat=$(ask "$port" 600); echo "ncat, request unread: $ncat"
[ "${unread#lost after}" != "$unread" ] && [ "${unread%with 0 bytes}" != "$unread" ]
[ "$read" = "none lost of 600" ] && [ "$ncat" = "none lost of 600" ]
