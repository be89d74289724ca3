"""Image files in memory: those that Pillow does not write, and the colour profiles of cameras and screens.

ICC.1:2001-04 says how a profile is laid out; colours are adapted to D50 by Bradford's matrix.
"""

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """A file of an image."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, transparent: bytes = b"") -> bytes:
    """A PNG; `rows` begin with a filter's number each, `colour` is 0 for grey and 2 for RGB."""
    head = struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"tRNS", transparent), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks if chunk != (b"tRNS", b""))


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


Array = npt.NDArray[np.float64]
Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))

_D65, _D50 = (0.3127, 0.3290), (0.34567, 0.35850)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def _xyz(point: tuple[float, float]) -> Array:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def colorants(primaries: Primaries) -> Array:
    """(xyz, rgb) what the primaries are under D50, on a screen whose white is D65."""
    corners = np.stack([_xyz(point) for point in primaries], axis=1)
    native = corners * np.linalg.solve(corners, _xyz(_D65))
    cones = (_BRADFORD @ _xyz(_D50)) / (_BRADFORD @ _xyz(_D65))
    return np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ native


def in_srgb(colours: npt.NDArray[np.uint8], primaries: Primaries, gamma: float) -> Array:
    """(..., rgb) the same colours in sRGB, on its scale of 0 to 255."""
    return _srgb((colours / 255) ** gamma @ colorants(primaries).T)


def lab_in_srgb(lab: Array) -> Array:
    """(..., rgb) the colours L*, a*, b* under D50 in sRGB, on its scale of 0 to 255."""
    level = (lab[..., 0] + 16) / 116
    cones = np.stack([level + lab[..., 1] / 500, level, level - lab[..., 2] / 200], axis=-1)
    return _srgb(_xyz(_D50) * np.where(cones > 6 / 29, cones**3, (cones - 4 / 29) * 108 / 841))


def _srgb(xyz: Array) -> Array:
    linear = np.clip(xyz @ np.linalg.inv(colorants(SRGB)).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def matrix_profile(primaries: Primaries, gamma: float) -> bytes:
    """A profile of RGB."""
    red, green, blue = colorants(primaries).T
    tags = {b"rXYZ": _point(red), b"gXYZ": _point(green), b"bXYZ": _point(blue)}
    return _profile(b"RGB ", {**tags, b"rTRC": _curve(gamma), b"gTRC": _curve(gamma), b"bTRC": _curve(gamma)})


def grey_profile(gamma: float) -> bytes:
    """A profile of grey."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def _point(xyz: Array) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in xyz))


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": _point(_xyz(_D50)), **tags}
    table, body, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", place + len(body), len(content))
        body += content
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = bytes(4) + struct.pack(">I", 0x02100000) + b"mntr" + space + b"XYZ " + date + b"acsp" + bytes(28)
    head += struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1.0, 0.8249))) + bytes(48)
    return struct.pack(">I", 128 + len(table) + len(body)) + head + table + body
