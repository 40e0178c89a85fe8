"""What is needed of libzstd: its functions are those of zstd.h."""

import ctypes
import os

from refusal import fail


class Zstd:
    """The library that ZSTD_LIBRARY names, or else the system's."""

    LEVEL, CONTENT_SIZE_FLAG, CHECKSUM_FLAG = 100, 200, 201

    def __init__(self):
        self.library = ctypes.CDLL(os.environ.get("ZSTD_LIBRARY", "libzstd.so.1"))
        for name in "ZSTD_createDCtx", "ZSTD_createCCtx":
            getattr(self.library, name).restype = ctypes.c_void_p
        for name in (
            "ZSTD_DCtx_refPrefix",
            "ZSTD_decompress",
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

    def extent(self, stored, limit):
        """The content of a file system's extent, a frame and zeros; none if it is no such thing."""
        length = self.library.ZSTD_findFrameCompressedSize(stored, ctypes.c_size_t(len(stored)))
        if self.library.ZSTD_isError(ctypes.c_size_t(length)) or any(stored[length:]):
            return None
        content = ctypes.create_string_buffer(limit)
        room = ctypes.c_size_t(limit)
        length = self.library.ZSTD_decompress(content, room, stored, ctypes.c_size_t(length))
        return None if self.library.ZSTD_isError(ctypes.c_size_t(length)) else content.raw[:length]

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
