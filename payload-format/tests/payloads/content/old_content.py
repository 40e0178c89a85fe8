"""The content of an old image, and its chunks.

Where content is found, and where it is cut, is docs/content-payloads.md; btrfs is what the kernel's btrfs_tree.h says.
"""

import hashlib
import struct

BLOCK = 4096
SEGMENT = 256 * BLOCK
MAX_EXTENT = 128 << 10

CHUNK_ITEM, ROOT_ITEM, EXTENT_DATA = 228, 132, 108
ZSTD = 3


def numbers(layout, data, at):
    """Little-endian numbers without gaps, by the letters of `struct`."""
    return struct.unpack_from("<" + layout, data, at)


class Btrfs:
    """Trees of an image that is one, read as far as files' extents are concerned."""

    def __init__(self, image):
        self.image = image
        self.chunks = {}
        superblock = image[64 << 10 :][:BLOCK]
        self.is_known = len(superblock) == BLOCK and superblock[64:72] == b"_BHRfS_M"
        if not self.is_known:
            return
        self.root, chunk_root = numbers("QQ", superblock, 80)
        (devices,) = numbers("Q", superblock, 136)
        sector, self.node_len = numbers("II", superblock, 144)
        self.is_known = devices == 1 and sector == BLOCK
        self.root_level, chunk_root_level = superblock[198], superblock[199]
        (length,) = numbers("I", superblock, 160)
        array, at = superblock[811:][:length], 0
        while at < len(array):
            at += 17 + self._add_chunk(numbers("QBQ", array, at), array[at + 17 :])
        for key, item in list(self.items(chunk_root, chunk_root_level)):
            if key[1] == CHUNK_ITEM:
                self._add_chunk(key, item)

    def _add_chunk(self, key, item):
        """Notes where a run of addresses lies: in its first stripe, all others of which are copies. Its length."""
        (length,), (stripes,), (place,) = numbers("Q", item, 0), numbers("H", item, 44), numbers("Q", item, 56)
        self.chunks[key[2]] = (length, place)
        return 48 + 32 * stripes

    def place(self, address, length):
        for start, (size, place) in self.chunks.items():
            if start <= address and address + length <= start + size:
                return place + address - start
        return None

    def items(self, address, level):
        """Each item of a tree, in order: its key (object, type, offset) and its bytes."""
        place = self.place(address, self.node_len)
        node = self.image[place : place + self.node_len]
        (count,) = numbers("I", node, 96)
        for number in range(count):
            if level:
                (child,) = numbers("Q", node, 101 + 33 * number + 17)
                yield from self.items(child, level - 1)
            else:
                header = 101 + 25 * number
                offset, length = numbers("II", node, header + 17)
                yield numbers("QBQ", node, header), node[101 + offset :][:length]

    def extents(self):
        """Extents of all files: (tree, file), place, length, and whether it is compressed with zstd."""
        for key, item in list(self.items(self.root, self.root_level)):
            tree, kind, _ = key
            if kind != ROOT_ITEM or not (tree == 5 or 256 <= tree <= 2**64 - 256):
                continue
            (address,), level = numbers("Q", item, 176), item[238]
            for (file, kind, _), item in self.items(address, level):
                # Regular ones, which are no holes: others are in the tree itself, or only reserved.
                if kind != EXTENT_DATA or item[20] != 1:
                    continue
                address, length = numbers("QQ", item, 21)
                place = self.place(address, length)
                if address and not item[17] and place is not None:
                    yield (tree, file), place, length, item[16] == ZSTD


class OldContent:
    """An image's content, cut into chunks by a payload's parameters."""

    def __init__(self, image, parameters, zstd):
        self.content = bytearray()
        # Where units end.
        self.units = []
        self.zstd = zstd
        self._find(image + bytes(-len(image) % BLOCK), len(image))
        # Where each chunk ends.
        self.ends = list(self._cut(*parameters))
        self.hashes = []
        starts = [0] + self.ends[:-1]
        for start, end in zip(starts, self.ends):
            self.hashes.append(hashlib.sha256(self.content[start:end]).digest()[:16])
        self.by_hash = {}
        for digest, start, end in zip(self.hashes, starts, self.ends):
            self.by_hash.setdefault(digest, (start, end))

    def chunk(self, digest):
        place = self.by_hash.get(digest)
        return bytes(self.content[slice(*place)]) if place else None

    def is_known_by(self, length, digest):
        """Whether a chunk ends there, and the chunks up to there have these hashes."""
        if length not in self.ends:
            return False
        hashes = self.hashes[: self.ends.index(length) + 1]
        return hashlib.sha256(b"".join(hashes)).digest() == digest

    def _find(self, image, length):
        btrfs, taken, last = Btrfs(image), set(), None
        for file, place, extent_len, is_zstd in btrfs.extents() if btrfs.is_known else ():
            blocks = range(place // BLOCK, (place + extent_len) // BLOCK)
            if place + extent_len > length or not taken.isdisjoint(blocks):
                continue
            taken.update(blocks)
            if file != last:
                self.units.append(len(self.content))
            last = file
            stored = image[place : place + extent_len]
            decoded = self.zstd.extent(stored, MAX_EXTENT) if is_zstd and extent_len <= MAX_EXTENT else None
            self.content += decoded or stored
        self.units.append(len(self.content))
        for block in range(len(image) // BLOCK):
            bytes_of = image[block * BLOCK : (block + 1) * BLOCK]
            if block not in taken and any(bytes_of):
                self.content += bytes_of
        self.units.append(len(self.content))

    def _cut(self, least, mask_bits, most):
        gear = [int.from_bytes(hashlib.sha256(bytes([byte])).digest()[:8], "little") for byte in range(256)]
        limit, modulus = 1 << (64 - mask_bits), (1 << 64) - 1
        for start, end in zip([0] + self.units, self.units):
            while start < end:
                cut, rolling = min(start + most, end), 0
                for at in range(start, cut):
                    rolling = (2 * rolling + gear[self.content[at]]) & modulus
                    if rolling < limit and at + 1 - start >= least:
                        cut = at + 1
                        break
                yield cut
                start = cut
