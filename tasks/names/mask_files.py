"""Masks in a folder of PNG files, one for each image of a run."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from rosetta.errors import UserError
from rosetta.naming.dissection import Int32
from storage.filesystem.root import Root
from storage.run.data import RunData
from tasks.names.legend import Legend
from tasks.source.places import reason_of

LEGEND = "legend.csv"
_SUFFIX = ".png"
_GREY = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L"})


@dataclass(frozen=True)
class FolderMasks:
    """The masks of a run's images."""

    folder: Root
    files: tuple[str, ...]
    """(image,) of each stored image."""
    size: tuple[int, int]
    """Height and width of the images."""
    legend: Legend

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What they are, for a fingerprint."""
        digest = sha256()
        for file in self.files:
            digest.update(f"{file}\n".encode() + sha256(self._content(file)).digest())
        return {"masks_sha256": digest.hexdigest()}

    def read(self, images: slice) -> Int32:
        """(image, y, x) labels of some images, by their index in the legend.

        Raises
        ------
        UserError
            A file is damaged, of another size than the images, or has a value that the legend lacks.
        """
        return np.stack([self._mask(file) for file in self.files[images]])

    def require_sizes(self) -> None:
        """
        Raises
        ------
        UserError
            A mask is no image, or of another size than the images.
        """
        for file in self.files:
            self._opened(file).close()

    def _mask(self, file: str) -> Int32:
        with self._opened(file) as image:
            try:
                image.load()
            except Exception as error:  # decoders raise errors of all kinds over a damaged file
                raise UserError(f"mask {file} is damaged ({reason_of(error)}); write it again") from None
            if self.legend.coloured:
                red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), np.int64), -1, 0)
                values = (red << 16) + (green << 8) + blue
            elif image.mode in _GREY or image.mode == "P":
                values = np.asarray(image).astype(np.int64)
            else:
                raise UserError(
                    f"mask {file} is in colours ({image.mode}) and {self.legend.name} has numbers; write #rrggbb there"
                )
        return self.legend.numbered(values, f"mask {file}")

    def _opened(self, file: str) -> Image.Image:
        """A mask of which the header has been read and found good."""
        try:
            image = Image.open(io.BytesIO(self._content(file)), formats=["PNG"])
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"mask {file} is no PNG file ({reason_of(error)}); write it again") from None
        height, width = self.size
        if image.size != (width, height):
            image.close()
            raise UserError(
                f"mask {file} is {image.height} × {image.width} and the images of the run are {height} × {width}; crop "
                "and scale it as the image was, without mixing values"
            )
        return image

    def _content(self, file: str) -> bytes:
        try:
            return self.folder.read_bytes(file)
        except OSError as error:
            raise UserError(f"mask {file} cannot be read ({reason_of(error)}); try again") from None


def folder_masks(run: RunData, folder: str, legend: Legend | None) -> FolderMasks:
    """The masks of a run's images in a folder and below.

    A mask is called like its image's path in the source, or the last part of that, without the suffix, or by the
    image's index.

    Parameters
    ----------
    legend
        Left out, `legend.csv` in the folder.

    Raises
    ------
    UserError
        There is no such folder or legend, an image has no mask or two, or a mask is of no image.
    """
    root = Root(folder)
    files = [file.lstrip("/") for file in root.find("") if file.lower().endswith(_SUFFIX)] if root.exists("") else []
    if not files:
        raise UserError(f"--masks {folder}: no PNG files are there; name a folder of masks, or a segmentation model")
    if legend is None:
        try:
            legend = Legend.parse(root.read_bytes(LEGEND), f"{folder}/{LEGEND}")
        except OSError:
            raise UserError(f"{folder} has no {LEGEND}; write one with value,label, or give --legend FILE") from None
    masks = FolderMasks(root, tuple(_matched(run, files, folder)), run.pictures.size, legend)
    masks.require_sizes()
    return masks


def _matched(run: RunData, files: Sequence[str], folder: str) -> list[str]:
    """(image,) the mask of each stored image."""
    names = _names(run)
    found: dict[int, str] = {}
    for file in files:
        path = PurePosixPath(file).with_suffix("")
        image = next((names[name] for name in (str(path), path.name, _number(path.name)) if name in names), None)
        if image is None:
            raise UserError(
                f"mask {file} is of no image of the run; call it as the image's file or index,"
                f" for example {next(iter(names))}"
            )
        if image in found:
            raise UserError(f"masks {found[image]} and {file} are of the same image; leave one of them")
        found[image] = file
    lacking = sorted(set(range(run.pictures.count)) - found.keys())
    if lacking:
        index = int(run.image_indices[lacking[0]])
        sources = run.pictures.sources()
        what = f"image {index}" + (f" ({sources[lacking[0]]})" if sources else "")
        raise UserError(
            f"{folder} has masks for {len(found):,} of {run.pictures.count:,} images; the first without is {what}"
        )
    return [found[image] for image in range(run.pictures.count)]


def _names(run: RunData) -> dict[str, int]:
    """What a mask may be called, and of which stored image it then is; what two images share is left out."""
    sources = [PurePosixPath(source).with_suffix("") for source in run.pictures.sources() or ()]
    if run.generator is not None:
        sources = []  # they are descriptions
    by_index = {str(index): number for number, index in enumerate(run.image_indices)}
    stems: dict[str, int] = {}
    shared = set()
    for number, source in enumerate(sources):
        shared |= {source.name} & stems.keys()
        stems[source.name] = number
    by_stem = {stem: number for stem, number in stems.items() if stem not in shared}
    return {**{str(source): number for number, source in enumerate(sources)}, **by_index} | by_stem


def _number(name: str) -> str:
    """A name as an index, without zeros before it; as it is where it is none."""
    return str(int(name)) if name.isdecimal() and name.isascii() else name
