#!/bin/sh
# Tool: payload_dumper 0.3.0 (PyPI payload-dumper), with bsdiff4 1.3.2 and protobuf 3.20.3.
#
# Behaviour: of an operation that copies two blocks to two places of the new image (SOURCE_COPY with two destination extents) it writes both
# to the first place and behind it, on over what belongs there, and nothing to the second. The image lacks a block, is shorter than
# the manifest says, and the status is 0: hashes and sizes, which the manifest has, are compared with nothing. The same image made by
# two operations with one destination each is right.
# One would guess: extents are the format's first idea, and a program that reads a manifest with hashes says when the image isn't the one
# described.
# Matters because generators make such operations wherever a file has moved and been split: what was dumped is what somebody inspects, boots in a
# test, or takes for the old image of the next delta. Hash a dumped image and compare it with new_partition_info; the status says nothing.
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT; cd "$dir"
pip install --quiet --disable-pip-version-check --root-user-action=ignore --target site payload-dumper==0.3.0 bsdiff4==1.3.2 \
  enlighten==1.14.1 protobuf==3.20.3
PYTHONPATH="$dir/site" PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python; export PYTHONPATH PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION
cat >make.py <<'PYTHON'
# An old image of blocks A and B, and payloads that make the new image A, zeros, zeros, B of it.
import hashlib, os, struct
from payload_dumper import update_metadata_pb2 as format_
BLOCK = 4096
old = b"A" * BLOCK + b"B" * BLOCK
new = b"A" * BLOCK + bytes(2 * BLOCK) + b"B" * BLOCK
sha256 = lambda data: hashlib.sha256(data).digest()
os.makedirs("old")
for name in "split", "apart":
    open(f"old/{name}.img", "wb").write(old)
    manifest = format_.DeltaArchiveManifest(block_size=BLOCK, minor_version=4)
    partition = manifest.partitions.add(partition_name=name)
    partition.old_partition_info.size, partition.old_partition_info.hash = len(old), sha256(old)
    partition.new_partition_info.size, partition.new_partition_info.hash = len(new), sha256(new)
    def operation(kind, sources, targets):
        made = partition.operations.add(type=kind)
        for start, count in sources: made.src_extents.add(start_block=start, num_blocks=count)
        for start, count in targets: made.dst_extents.add(start_block=start, num_blocks=count)
        if sources: made.src_sha256_hash = sha256(b"".join(old[start * BLOCK:(start + count) * BLOCK] for start, count in sources))
    operations = format_.InstallOperation
    if name == "split":
        operation(operations.SOURCE_COPY, [(0, 2)], [(0, 1), (3, 1)])
    else:
        operation(operations.SOURCE_COPY, [(0, 1)], [(0, 1)]); operation(operations.SOURCE_COPY, [(1, 1)], [(3, 1)])
    operation(operations.ZERO, [], [(1, 2)])
    packed = manifest.SerializeToString()
    open(name, "wb").write(b"CrAU" + struct.pack(">QQI", 2, len(packed), 0) + packed)
open("new.img", "wb").write(new)
PYTHON
python3 make.py
echo "payload_dumper $(python3 -c 'import importlib.metadata; print(importlib.metadata.version("payload_dumper"))')"
for name in apart split; do
  status=0; python3 -m payload_dumper.dumper --diff --old old --out out "$name" >log 2>&1 || status=$?
  if cmp -s new.img "out/$name.img"; then image='the new image'; else image="A $(tr -cd A <"out/$name.img" | wc -c) times, B $(tr -cd B <"out/$name.img" | wc -c) times"; fi
  echo "$name: status $status, $(stat -c %s "out/$name.img") of $(stat -c %s new.img) bytes: $image"
done >seen
cat seen
diff seen - <<'SEEN'
apart: status 0, 16384 of 16384 bytes: the new image
split: status 0, 12288 of 16384 bytes: A 4096 times, B 0 times
SEEN
