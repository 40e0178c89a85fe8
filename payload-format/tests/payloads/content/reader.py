"""Builds the image of a content payload by docs/content-payloads.md and docs/payloads.md alone.

usage: reader.py PAYLOAD OUT IMAGE [OLD]

Knows nothing of the project's code: `protoc` decodes the manifest by docs/content-payloads.proto, which
CONTENT_PAYLOADS_PROTO names; a field that the schema lacks is refused. Header, tables and chunks are read here, and
frames are decoded and made by the system's libzstd. What OLD, an image that is there, has of the chunks is taken from
it, and so are patches of it if it is a predecessor. Each chunk is held against its hash, and the image against the
manifest's.

The encoder is libzstd 1.5.7. Where the system's is another version, it can't make the blocks again: then each
encoded segment must be what IMAGE, the original, has there, as far as a decoder can tell, and its blocks are taken.
ZSTD_LIBRARY names another library. Prints how many segments were encoded, and how many compared; and how many chunks
were packed, of the old image, and made by patches.
"""

import ast
import hashlib
import os
import subprocess
import sys

import patches
from old_content import OldContent
from refusal import fail
from zstd_library import Zstd

BLOCK = 4096


class Message:
    """A message in protobuf's text format: its fields by name, each a list of what stands there."""

    def __init__(self):
        self.fields = {}

    def all(self, name):
        return self.fields.get(name, [])

    def one(self, name, default=None):
        values = self.all(name)
        return values[-1] if values else default


def decoded(manifest):
    """The manifest, as `protoc` decodes it by the published schema."""
    schema = os.environ["CONTENT_PAYLOADS_PROTO"]
    directory, name = os.path.split(schema)
    command = ["protoc", f"--proto_path={directory}", "--decode=update_engine.Manifest", name]
    protoc = subprocess.run(command, input=manifest, stdout=subprocess.PIPE, check=False)
    if protoc.returncode != 0:
        fail("the manifest is no such message")
    open_messages = [Message()]
    for line in protoc.stdout.decode("ascii").splitlines():
        line = line.strip()
        if line == "}":
            open_messages.pop()
            continue
        name = line.split(":")[0].removesuffix(" {")
        if name.isdecimal():
            fail(f"field {name} is not in the schema")
        values = open_messages[-1].fields.setdefault(name, [])
        if line.endswith(" {"):
            open_messages.append(Message())
            values.append(open_messages[-1])
        else:
            values.append(value(line[len(name) + 2 :]))
    return open_messages[0]


def value(text):
    """A number, bytes, or the name of an enumeration's value."""
    if text[0] == '"':
        # Escaped as in C, and so as in Python.
        return ast.literal_eval("b" + text)
    return int(text) if text.lstrip("-").isdecimal() else text


def read(payload):
    """The slot's partition, that of a kernel made of content, and the packed chunks and patches of a content payload."""
    if payload[:4] != b"CrAU" or int.from_bytes(payload[4:12], "big") != 2:
        fail("no payload of version 2")
    manifest_len = int.from_bytes(payload[12:20], "big")
    signatures_len = int.from_bytes(payload[20:24], "big")
    manifest = decoded(payload[24 : 24 + manifest_len])
    if manifest.one("minor_version") != 50001:
        fail("no content payload")
    data = payload[24 + manifest_len + signatures_len :]
    operations_len = 0
    slot = kernel = None
    for partition in manifest.all("partitions"):
        operations_len += sum(operation.one("data_length", 0) for operation in partition.all("operations"))
        if partition.one("partition_name") in (b"usr", b"root"):
            slot = partition
        elif partition.one("partition_name") == b"kernel" and partition.one("content_start") is not None:
            kernel = partition
    return slot, kernel, data[operations_len:]


def columns(tables):
    """Chunks as (hash, length, packed length), segments as (encoder, first block, blocks, length of content)."""
    hashes = tables.one("chunk_hashes", b"")
    hashes = [hashes[at : at + 16] for at in range(0, len(hashes), 16)]
    lengths, packed_lengths = tables.all("chunk_lengths"), tables.all("packed_lengths")
    if not len(hashes) == len(lengths) == len(packed_lengths):
        fail("chunks' lists differ in length")
    chunks = list(zip(hashes, lengths, packed_lengths))
    encoders = [(encoder.one("name"), encoder.one("level", 0)) for encoder in tables.all("encoders")]
    lengths, segments, end = iter(tables.all("encoded_lengths")), [], 0
    columns = (tables.all(f"segment_{name}") for name in ("encoders", "starts", "blocks"))
    for encoder, start, blocks in zip(*columns):
        start = end + start
        end = start + blocks
        length = next(lengths) if encoder else blocks * BLOCK
        segments.append((encoders[encoder - 1] if encoder else None, start, blocks, length))
    return chunks, segments


def content_of(tables, chunks, data, old, zstd):
    """The content, and how many chunks were packed, of the old image, and made by patches."""
    content, at, made, counts = bytearray(), 0, {}, [0, 0, 0]
    prefix_len = tables.one("prefix_len", 0)
    sections = patches.taken(tables, chunks, old) if old else {}
    for number, (digest, length, packed_len) in enumerate(chunks):
        packed, at = data[at : at + packed_len], at + packed_len
        if number in sections:
            made.update(made_by(sections[number], chunks, data, old))
        if number in made:
            chunk, way = made.pop(number), 2
        elif old and old.chunk(digest) is not None:
            chunk, way = old.chunk(digest), 1
        else:
            chunk, way = packed, 0
            if packed_len != length:
                prefix = bytes(content[-prefix_len:]) if prefix_len else b""
                chunk = zstd.decode(packed, prefix, length)
        if hashlib.sha256(chunk).digest()[:16] != digest:
            fail(f"chunk {number} has another hash")
        content += chunk
        counts[way] += 1
    return bytes(content), counts


def made_by(section, chunks, data, old):
    """What the patch of a section makes, by number of the chunk."""
    numbers, place, length, sources = section
    source = b"".join(old.content[start:end] for start, end in sources)
    content = patches.applied(data[place : place + length], source, sum(chunks[number][1] for number in numbers))
    made, at = {}, 0
    for number in numbers:
        made[number], at = content[at : at + chunks[number][1]], at + chunks[number][1]
    return made


def hash_tree(image, data_blocks, salt):
    """The hash tree of dm-verity over an image's first blocks, the top level first."""

    def level_of(data):
        blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
        hashes = b"".join(hashlib.sha256(salt + block).digest() for block in blocks)
        return hashes + bytes(-len(hashes) % BLOCK)

    levels = [level_of(image[: data_blocks * BLOCK])]
    while len(levels[-1]) > BLOCK:
        levels.append(level_of(levels[-1]))
    return b"".join(reversed(levels))


def main(path, out, original, old=None):
    zstd = Zstd()
    with open(path, "rb") as file:
        slot, kernel, data = read(file.read())
    new = slot.one("new_partition_info")
    image_len, digest = new.one("size"), new.one("hash")
    tables = slot.one("content")
    chunks, segments = columns(tables)
    if old:
        with open(old, "rb") as file:
            cuts = (tables.one(f"chunk_{name}") for name in ("min", "mask_bits", "max"))
            old = OldContent(file.read(), list(cuts), zstd)
    content, counts = content_of(tables, chunks, data, old, zstd)
    if kernel:
        new, start = kernel.one("new_partition_info"), kernel.one("content_start")
        if hashlib.sha256(content[start : start + new.one("size")]).digest() != new.one("hash"):
            fail("the kernel has another hash")
    with open(original, "rb") as file:
        original = file.read()
    image = bytearray(-(-image_len // BLOCK) * BLOCK)
    at = encoded = compared = 0
    for encoder, start, blocks, length in segments:
        piece, at = content[at : at + length], at + length
        place = slice(start * BLOCK, (start + blocks) * BLOCK)
        if encoder is None:
            image[place] = piece
            continue
        name, level = encoder
        if name != b"btrfs-zstd-1.5.7":
            fail(f"encoder {name}")
        if zstd.version() == 10507:
            piece = zstd.encode(piece, level)
            image[place] = piece + bytes(blocks * BLOCK - len(piece))
            encoded += 1
        else:
            stored = original[place]
            frame = stored[: zstd.frame_len(stored)]
            if any(stored[len(frame) :]) or zstd.decode(frame, b"", length) != piece:
                fail(f"blocks from {start} on hold something else")
            image[place] = stored
            compared += 1
    if at != len(content):
        fail("content is left")
    tree = tables.one("verity_tree")
    if tree:
        data_blocks, start, salt = tree.one("data_blocks"), tree.one("tree_start"), tree.one("salt", b"")
        hashes = hash_tree(image, data_blocks, salt)
        image[start * BLOCK : start * BLOCK + len(hashes)] = hashes
    image = bytes(image[:image_len])
    if hashlib.sha256(image).digest() != digest:
        fail("the image has another hash")
    with open(out, "wb") as file:
        file.write(image)
    print(f"{encoded} encoded, {compared} compared; kernel: {bool(kernel)}, hash tree: {bool(tree)}")
    print("chunks: {} packed, {} old, {} patched".format(*counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
