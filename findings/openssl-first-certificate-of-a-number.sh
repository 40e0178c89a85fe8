#!/bin/sh
# Tool: OpenSSL 3.0.20 (Debian 12's openssl and libssl3 3.0.20-1~deb12u2), whose PKCS7_verify() systemd calls for signed extension images.
#
# Behaviour: of the certificates that it is given, PKCS7_verify() takes the first with the signer's issuer and serial number, and tries no
# other. Is that one of another key (a self-signed certificate made anew by a script that sets name and number), verification fails,
# although the right certificate comes next; in the other order it succeeds. With another number, the order doesn't matter.
# One would guess: a set of trusted certificates, of which any may have signed.
# Matters because systemd puts all files of /etc/verity.d, /run/verity.d and /usr/lib/verity.d into one list, sorted by name: during a
# change of keys the names of two files decide whether an image's extensions are merged after an update, or none at all.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
export LC_ALL=C
apt-get download -qq 'openssl=3.0.20-1~deb12u2' 'libssl3=3.0.20-1~deb12u2' >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/$(uname -m)-linux-gnu" OPENSSL_CONF=/dev/null
openssl="$dir/root/usr/bin/openssl"
"$openssl" version

certificate() { # certificate NAME NUMBER: a key and a self-signed certificate of the same name as all others
  "$openssl" req -x509 -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.crt" -subj /CN=site -set_serial "$2" -days 30 2>/dev/null
}
certificate signer 4711
certificate same-number 4711
certificate other-number 4712
printf %064d 0 >root-hash
"$openssl" smime -sign -nocerts -noattr -binary -in root-hash -inkey signer.key -signer signer.crt -outform der -out signature

verify() { # verify CERTIFICATE…: as systemd asks, with no certificates but these, and without a chain
  for name; do cat "$name.crt"; done >all.crt
  if "$openssl" smime -verify -noverify -nointern -certfile all.crt -inform der -in signature -content root-hash -binary \
    >/dev/null 2>&1; then echo verified; else echo refused; fi
}
for order in 'signer' 'signer same-number' 'same-number signer' 'other-number signer'; do
  # shellcheck disable=SC2086
  echo "$order: $(verify $order)" | tee -a seen
done
[ "$(sed 's/.*: //' seen | tr '\n' ' ')" = 'verified verified refused verified ' ]
