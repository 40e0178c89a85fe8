"""Patches of predecessors by docs/content-payloads.md: which of them are taken, and the format BSDF2."""

import bz2
import subprocess

from refusal import fail


def sections(predecessor, chunks, place):
    """A predecessor's sections as (chunks' numbers, place of the patch, its length, sources), and the place behind."""
    numbers = (predecessor.all(name) for name in ("section_skips", "section_chunks", "patch_lengths", "source_counts"))
    starts, lengths = iter(predecessor.all("source_starts")), iter(predecessor.all("source_lengths"))
    found, next_chunk, end = [], 0, 0
    for skip, count, length, source_count in zip(*numbers):
        first = next_chunk + skip
        next_chunk = first + count
        if next_chunk > len(chunks):
            fail("a section goes past the chunks")
        sources = []
        for _ in range(source_count):
            start = end + next(starts)
            end = start + next(lengths)
            sources.append((start, end))
        found.append((range(first, next_chunk), place, length, sources))
        place += length
    return found, place


def taken(tables, chunks, old):
    """Sections of the predecessor that the old image is, whose patches are smaller than the packed chunks that it
    lacks of them; by the number of their first chunk."""
    place = sum(packed_len for _, _, packed_len in chunks)
    own = []
    for predecessor in tables.all("predecessors"):
        found, place = sections(predecessor, chunks, place)
        if old.is_known_by(predecessor.one("content_len", 0), predecessor.one("content_hash")):
            own = found
    lacking = lambda numbers: sum(chunks[number][2] for number in numbers if old.chunk(chunks[number][0]) is None)
    return {section[0].start: section for section in own if section[2] < lacking(section[0])}


def unpacked(stream, packing):
    if packing == 0:
        return stream
    if packing == 1:
        return bz2.decompress(stream)
    if packing == 2:
        return subprocess.run(["brotli", "--decompress", "--stdout"], input=stream, capture_output=True, check=True).stdout
    return fail("an unknown compression in a patch")


def number(stream, at):
    value = int.from_bytes(stream[at : at + 8], "little")
    return -(value & ~(1 << 63)) if value >> 63 else value


def applied(patch, source, length):
    """What a patch makes: `length` bytes."""
    if len(patch) == length:
        return patch
    if patch[:5] != b"BSDF2" or number(patch, 24) != length:
        fail("no such patch")
    control_end = 32 + number(patch, 8)
    diff_end = control_end + number(patch, 16)
    streams = patch[32:control_end], patch[control_end:diff_end], patch[diff_end:]
    control, diff, extra = (unpacked(stream, packing) for stream, packing in zip(streams, patch[5:8]))
    result, place, diff_at, extra_at = bytearray(), 0, 0, 0
    for step in range(0, len(control), 24):
        add, insert, seek = (number(control, step + at) for at in (0, 8, 16))
        for at in range(add):
            old = source[place + at] if 0 <= place + at < len(source) else 0
            result.append((diff[diff_at + at] + old) % 256)
        result += extra[extra_at : extra_at + insert]
        diff_at, extra_at, place = diff_at + add, extra_at + insert, place + add + seek
    if len(result) != length:
        fail("a patch makes another length")
    return bytes(result)
