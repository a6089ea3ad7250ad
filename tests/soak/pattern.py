"""Bytes that both ends of the soak know: a body by its size, and its checksum."""

import functools
import random
import zlib

BLOCK = random.Random(7).randbytes(64 * 1024)


def pieces(size: int):
    """So many bytes, in pieces of up to 64 KiB."""
    while size > 0:
        piece = BLOCK[:size]
        yield piece
        size -= len(piece)


@functools.lru_cache(maxsize=4096)
def checksum(size: int) -> int:
    """The checksum of those bytes."""
    value = 0
    for piece in pieces(size):
        value = zlib.crc32(piece, value)
    return value
