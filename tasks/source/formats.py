"""Which image files can be read here: what Pillow opens and decodes by itself."""

from functools import cache

from PIL import Image, ImageFile

_NEVER = frozenset({"EPS", "MPEG"})
"""Decoding EPS runs Ghostscript, a program that the file programs; of films Pillow knows the header only."""

_OTHERS = """
    .heic .heif .hif .jxl .svg .eps .exr .hdr .djvu .dcm
    .cr2 .cr3 .crw .nef .nrw .arw .sr2 .dng .raf .orf .rw2 .pef .srw .x3f
    .mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv
"""

UNREADABLE = frozenset(_OTHERS.split())
"""Suffixes of pictures and films that a person may take for images of a source, where Pillow does not read them."""


@cache
def formats() -> tuple[str, ...]:
    """Names of the formats to open, the common ones first. Not those whose files Pillow knows but cannot decode."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in _NEVER and not _is_stub(Image.OPEN[name][0]))


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of their files, lower case with the dot."""
    readable = set(formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable)


def _is_stub(factory: object) -> bool:
    return isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
