#!/bin/sh
# Tool: veritysetup 2.6.1 (Debian's cryptsetup-bin 2:2.6.1-4~deb12u2).
#
# Behaviour: `veritysetup verify` of an image with error correction (--fec-device) exits with 0 where data and hash tree are damaged, as long as the
# damage could be repaired: it says "Verification failed" and "Found N repairable errors", and repairs nothing. Without --fec-device the same image
# gives 2. Damaged parity over sound data gives 0 and not a word, though nothing could be repaired with it.
# One would guess: status 0 of a verification means that the bytes are those that the root hash was made of, and that all three parts
# were looked at; or that what was repairable is repaired.
# Matters because it is the check after a slot was written: a disk that has lost blocks of a new image passes, the update counts as good, and
# its error correction is used up on the first day; and parity that was written to the wrong place is noticed on the day that it is needed.
# Verify without --fec-device, and compare the parity by a hash of its own.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq 'cryptsetup-bin=2:2.6.1-4~deb12u2' 'libcryptsetup12=2:2.6.1-4~deb12u2' libpopt0=1.19+dfsg-1 libdevmapper1.02.1=2:1.02.185-2 libjson-c5 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" root; done
veritysetup() { LD_LIBRARY_PATH="$dir/root/lib/x86_64-linux-gnu:$dir/root/usr/lib/x86_64-linux-gnu" "$dir/root/sbin/veritysetup" "$@"; }
veritysetup --version
head -c 4M /dev/urandom >data.sound
cp data.sound data
hash=$(veritysetup format data hashes.sound --fec-device=parity.sound --salt=- | sed -n 's/^Root hash:[[:space:]]*//p')
damage() { printf 'damaged' | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
verify() {
  veritysetup verify data hashes "$hash" "$@" >log 2>&1 && status=0 || status=$?
  printf 'status %s%s' "$status" "$(grep -o 'Found .*' log | sed 's/Found [0-9]* /, found /' || true)"
}
tried() {
  before=$(sha256sum data hashes parity)
  echo "$1: with FEC $(verify --fec-device=parity); without $(verify)"
  [ "$before" = "$(sha256sum data hashes parity)" ] || echo '  and something was written'
}
fresh() { cp data.sound data; cp hashes.sound hashes; cp parity.sound parity; }
{
  fresh; tried 'sound'
  fresh; damage data 500000; tried 'data damaged'
  fresh; damage hashes 5000; tried 'hash tree damaged'
  fresh; head -c 20480 /dev/urandom | dd of=parity conv=notrunc 2>/dev/null; tried 'parity damaged'
  damage data 500000; tried 'parity and data damaged'
} >seen
cat seen
diff seen - <<'SEEN'
sound: with FEC status 0; without status 0
data damaged: with FEC status 0, found repairable errors with FEC device.; without status 2
hash tree damaged: with FEC status 0, found repairable errors with FEC device.; without status 2
parity damaged: with FEC status 0; without status 0
parity and data damaged: with FEC status 2; without status 2
SEEN
