"""Images as PNG files in data URLs, without a dependency on an image library."""

import base64
import struct
import zlib

import numpy as np
from jaxtyping import UInt8

GREY, RGBA = 0, 6  # the format's numbers for kinds of colour


def data_url(
    pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 4"],
) -> str:
    """Return an image as the address of an ``<img>`` element.

    Args:
        pixels: grey values, or red, green, blue and opacity.
    """
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"


def png(
    pixels: UInt8[np.ndarray, "height width"] | UInt8[np.ndarray, "height width 4"],
) -> bytes:
    """Encode an image as PNG (RFC 2083).

    Args:
        pixels: grey values, or red, green, blue and opacity.

    >>> png(np.zeros((2, 3), np.uint8))[1:4]
    b'PNG'
    """
    height, width = pixels.shape[:2]
    kind = GREY if pixels.ndim == 2 else RGBA
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines, 9))
        + chunk(b"IEND", b"")
    )
