"""Builds the image of a content payload by docs/content-payloads.md and docs/payloads.md alone.

usage: reader.py PAYLOAD OUT [IMAGE]

Knows nothing of the project's code: `protoc` decodes the manifest by docs/content-payloads.proto, which
CONTENT_PAYLOADS_PROTO names; a field that the schema lacks is refused. Header, tables and chunks are read here, and
frames are decoded and made by the system's libzstd. Each chunk is held against its hash, and the image
against the manifest's.

The encoder is libzstd 1.5.7. Where the system's is another version, it can't make the blocks again: then each
encoded segment must be what IMAGE, the original, has there, as far as a decoder can tell, and its blocks are taken.
ZSTD_LIBRARY names another library. Prints how many segments were encoded, and how many compared.
"""

import ast
import ctypes
import hashlib
import os
import subprocess
import sys

BLOCK = 4096


def fail(why):
    sys.exit(f"refused: {why}")


class Zstd:
    """What is needed of the library: its functions are those of zstd.h."""

    LEVEL, CONTENT_SIZE_FLAG, CHECKSUM_FLAG = 100, 200, 201

    def __init__(self):
        self.library = ctypes.CDLL(os.environ.get("ZSTD_LIBRARY", "libzstd.so.1"))
        for name in "ZSTD_createDCtx", "ZSTD_createCCtx":
            getattr(self.library, name).restype = ctypes.c_void_p
        for name in (
            "ZSTD_DCtx_refPrefix",
            "ZSTD_decompressDCtx",
            "ZSTD_CCtx_setParameter",
            "ZSTD_compress2",
            "ZSTD_compressBound",
            "ZSTD_findFrameCompressedSize",
        ):
            getattr(self.library, name).restype = ctypes.c_size_t

    def version(self):
        return self.library.ZSTD_versionNumber()

    def _checked(self, code, what):
        if self.library.ZSTD_isError(ctypes.c_size_t(code)):
            fail(what)
        return code

    def frame_len(self, data):
        code = self.library.ZSTD_findFrameCompressedSize(data, ctypes.c_size_t(len(data)))
        return self._checked(code, "no zstd frame")

    def decode(self, frame, prefix, length):
        """The content of one frame, which has `length` bytes."""
        if self.frame_len(frame) != len(frame):
            fail("more than one frame")
        context = ctypes.c_void_p(self.library.ZSTD_createDCtx())
        content = ctypes.create_string_buffer(length)
        if prefix:
            self.library.ZSTD_DCtx_refPrefix(context, prefix, ctypes.c_size_t(len(prefix)))
        found = self.library.ZSTD_decompressDCtx(
            context, content, ctypes.c_size_t(length), frame, ctypes.c_size_t(len(frame))
        )
        self.library.ZSTD_freeDCtx(context)
        if self._checked(found, "a frame that can't be decoded") != length:
            fail("a frame of another length")
        return content.raw

    def encode(self, content, level):
        context = ctypes.c_void_p(self.library.ZSTD_createCCtx())
        for parameter, value in (self.LEVEL, level), (self.CONTENT_SIZE_FLAG, 1), (self.CHECKSUM_FLAG, 0):
            self._checked(self.library.ZSTD_CCtx_setParameter(context, parameter, value), "a parameter")
        room = self.library.ZSTD_compressBound(ctypes.c_size_t(len(content)))
        encoded = ctypes.create_string_buffer(room)
        length = self.library.ZSTD_compress2(
            context, encoded, ctypes.c_size_t(room), content, ctypes.c_size_t(len(content))
        )
        self.library.ZSTD_freeCCtx(context)
        return encoded.raw[: self._checked(length, "content that can't be encoded")]


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
    """The slot's partition, that of a kernel made of content, and the packed chunks of a content payload."""
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


def content_of(chunks, packed, prefix_len, zstd):
    content, at = bytearray(), 0
    for number, (digest, length, packed_len) in enumerate(chunks):
        chunk, at = packed[at : at + packed_len], at + packed_len
        if packed_len != length:
            prefix = bytes(content[-prefix_len:]) if prefix_len else b""
            chunk = zstd.decode(chunk, prefix, length)
        if hashlib.sha256(chunk).digest()[:16] != digest:
            fail(f"chunk {number} has another hash")
        content += chunk
    return bytes(content)


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


def main(path, out, original=None):
    zstd = Zstd()
    with open(path, "rb") as file:
        slot, kernel, packed = read(file.read())
    new = slot.one("new_partition_info")
    image_len, digest = new.one("size"), new.one("hash")
    tables = slot.one("content")
    chunks, segments = columns(tables)
    content = content_of(chunks, packed, tables.one("prefix_len", 0), zstd)
    if kernel:
        new, start = kernel.one("new_partition_info"), kernel.one("content_start")
        if hashlib.sha256(content[start : start + new.one("size")]).digest() != new.one("hash"):
            fail("the kernel has another hash")
    if original:
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


if __name__ == "__main__":
    main(*sys.argv[1:])
