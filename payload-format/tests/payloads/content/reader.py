"""Builds the image of a content payload by docs/content-payloads.md and docs/payloads.md alone.

usage: reader.py PAYLOAD OUT [IMAGE]

Knows nothing of the project's code: header, fields of protobuf, tables and chunks are read here, and frames are
decoded and made by the system's libzstd. Each chunk is held against its hash, and the image against the manifest's.

The encoder is libzstd 1.5.7. Where the system's is another version, it can't make the blocks again: then each
encoded segment must be what IMAGE, the original, has there, as far as a decoder can tell, and its blocks are taken.
ZSTD_LIBRARY names another library. Prints how many segments were encoded, and how many compared.
"""

import ctypes
import hashlib
import os
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


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The fields of a protobuf message: for each number its values, in order."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            fail(f"wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


def numbers(data):
    """A packed list."""
    found, at = [], 0
    while at < len(data):
        number, at = varint(data, at)
        found.append(number)
    return found


def signed(number):
    """As sint32 and sint64 lie on the wire."""
    return number >> 1 if number & 1 == 0 else -(number >> 1) - 1


def read(payload):
    """The slot's partition, that of a kernel made of content, and the packed chunks of a content payload."""
    if payload[:4] != b"CrAU" or int.from_bytes(payload[4:12], "big") != 2:
        fail("no payload of version 2")
    manifest_len = int.from_bytes(payload[12:20], "big")
    signatures_len = int.from_bytes(payload[20:24], "big")
    manifest = fields(payload[24 : 24 + manifest_len])
    if manifest.get(12) != [50001]:
        fail("no content payload")
    data = payload[24 + manifest_len + signatures_len :]
    operations_len = 0
    slot = kernel = None
    for partition in map(fields, manifest[13]):
        operations_len += sum(fields(operation).get(3, [0])[0] for operation in partition.get(8, []))
        if partition[1][0] in (b"usr", b"root"):
            slot = partition
        elif partition[1][0] == b"kernel" and 50002 in partition:
            kernel = partition
    return slot, kernel, data[operations_len:]


def columns(tables):
    """Chunks as (hash, length, packed length), segments as (encoder, first block, blocks, length of content)."""
    lists = {number: numbers(tables.get(number, [b""])[0]) for number in (6, 7, 9, 10, 11, 12)}
    hashes = tables.get(8, [b""])[0]
    hashes = [hashes[at : at + 16] for at in range(0, len(hashes), 16)]
    if not len(hashes) == len(lists[6]) == len(lists[7]):
        fail("chunks' lists differ in length")
    chunks = list(zip(hashes, lists[6], lists[7]))
    encoders = [fields(encoder) for encoder in tables.get(5, [])]
    encoders = [(encoder[1][0], signed(encoder[2][0])) for encoder in encoders]
    lengths, segments, end = iter(lists[12]), [], 0
    for encoder, start, blocks in zip(lists[9], lists[10], lists[11]):
        start = end + signed(start)
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
    new = fields(slot[7][0])
    image_len, digest = new[1][0], new[2][0]
    tables = fields(slot[50001][0])
    chunks, segments = columns(tables)
    content = content_of(chunks, packed, tables.get(4, [0])[0], zstd)
    if kernel:
        new, start = fields(kernel[7][0]), kernel[50002][0]
        if hashlib.sha256(content[start : start + new[1][0]]).digest() != new[2][0]:
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
    if 13 in tables:
        tree = fields(tables[13][0])
        data_blocks, start, salt = tree[1][0], tree[2][0], tree.get(3, [b""])[0]
        hashes = hash_tree(image, data_blocks, salt)
        image[start * BLOCK : start * BLOCK + len(hashes)] = hashes
    image = bytes(image[:image_len])
    if hashlib.sha256(image).digest() != digest:
        fail("the image has another hash")
    with open(out, "wb") as file:
        file.write(image)
    print(f"{encoded} encoded, {compared} compared; kernel: {bool(kernel)}, hash tree: {13 in tables}")


if __name__ == "__main__":
    main(*sys.argv[1:])
