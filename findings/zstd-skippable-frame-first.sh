#!/bin/sh
# Tools: python-zstandard 0.25.0 (PyPI zstandard), pzstd and zstd 1.5.4 (Debian package zstd 1.5.4+dfsg2-5).
#
# Behaviour: pzstd begins its output with a skippable frame. `decompressobj().decompress()` and `read_to_iter()` of python-zstandard take that
# frame for the whole stream: no data, no error. `stream_reader(read_across_frames=True)` and the zstd program give the file.
# One would guess: a reader of zstd passes over skippable frames, as the format says, or raises.
# Matters because payload tools written in Python unpack zstd operations and images this way, and a builder that compresses with pzstd gets
# an empty partition out of them. Whoever unpacks must hold the length against what the manifest says.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
apt-get download -qq zstd=1.5.4+dfsg2-5 >/dev/null 2>&1
dpkg-deb -x zstd_*.deb root
pip install --quiet --disable-pip-version-check --root-user-action=ignore --target site zstandard==0.25.0
root/usr/bin/zstd --version
seq 1 200000 >plain
root/usr/bin/pzstd -q -o packed.zst plain
root/usr/bin/zstd -q -d -c packed.zst | cmp - plain && echo "zstd: the file"
PYTHONPATH=site python3 - <<'PYTHON'
import zstandard
packed, plain = open('packed.zst', 'rb').read(), open('plain', 'rb').read()
print('python-zstandard', zstandard.__version__, 'first bytes', packed[:4].hex())
object_ = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
iterated = b''.join(zstandard.ZstdDecompressor().read_to_iter(packed))
across = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
print('decompressobj', len(object_), 'bytes; read_to_iter', len(iterated), 'bytes; across frames', len(across), 'of', len(plain))
assert object_ == b'' and iterated == b'' and across == plain
PYTHON
