"""Pictures of the atlas: thumbnails of all images and a card for each concept, in sheets, and single images."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rosetta.mining.plan import ranges
from rosetta.view.atlas.sheets import PER_SHEET, card, picture, sheet, thumbnail
from rosetta.view.pictures.sprite import encoded
from storage.artifacts.images import ImageStore
from tasks.report.atlas.map_reader import Tiles

Pixels = npt.NDArray[np.uint8]


def picture_files(
    pictures: ImageStore, shown: set[int], of_units: set[int], on_cards: set[int], thumbs: dict[int, Pixels]
) -> Iterator[tuple[str, bytes]]:
    """`images/<b>.webp`, `pictures/<i>.webp` and `thumbs/<i>.webp`, each block of images read once.

    Parameters
    ----------
    shown
        Images that have a picture of their own.
    of_units
        Images that pages of units show, which ask for a few here and there and not for sheets.
    on_cards
        Images whose thumbnails are put into `thumbs` on the way.
    """
    waiting: list[Pixels] = []
    written = 0
    for span in ranges(pictures.count, pictures.block):
        for image, pixels in enumerate(pictures.pixels(span), start=span.start):
            waiting.append(thumbnail(pixels))
            if image in on_cards:
                thumbs[image] = waiting[-1]
            if image in shown:
                yield f"pictures/{image}.webp", picture(pixels)
            if image in of_units:
                yield f"thumbs/{image}.webp", encoded(waiting[-1], quality=80)
            if len(waiting) == PER_SHEET or image == pictures.count - 1:
                yield f"images/{written}.webp", sheet(waiting)
                waiting, written = [], written + 1


def card_files(images: npt.NDArray[np.int32], thumbs: dict[int, Pixels], maps: Tiles) -> Iterator[tuple[str, bytes]]:
    """`cards/<b>.webp`.

    Parameters
    ----------
    images
        (concept,) the image on each card.
    thumbs
        By image.
    maps
        (concept,) the map that is laid over each.
    """
    for number, part in enumerate(ranges(len(images), PER_SHEET)):
        concepts = range(part.start, part.stop)
        yield f"cards/{number}.webp", sheet([card(thumbs[int(images[of])], maps.tile(of)) for of in concepts])
