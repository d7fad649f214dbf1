"""PNG files of 16 bits and ICC profiles, written byte by byte."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png16(levels: NDArray[np.uint16], *extra: bytes) -> bytes:
    """A 16-bit PNG of (H, W, C): grey, grey and alpha, RGB or RGBA."""
    height, width, channels = levels.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    first, *rest = [png_chunk(*chunk) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(extra) + b"".join(rest)


def icc_profile(space: bytes, gamma: float) -> bytes:
    """A minimal ICC profile: grey, or RGB with the primaries of Adobe RGB (1998)."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *[round(value * 65536) for value in values])

    white = fixed(0.9642, 1, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    name = b"desc\0\0\0\0" + struct.pack(">I", 8) + b"testing\0" + b"\0" * 78
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"cprt": b"text\0\0\0\0none\0", b"desc": name}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        primaries = {b"r": (0.60974, 0.31111, 0.01947), b"g": (0.20528, 0.62567, 0.06087)}
        primaries[b"b"] = (0.14919, 0.06322, 0.74457)
        for channel, xyz in primaries.items():
            tags[channel + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*xyz)
            tags[channel + b"TRC"] = curve
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    size = start + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, b"mntr", space, b"XYZ ")
    header += b"\0" * 12 + b"acsp" + b"\0" * 28 + white
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
