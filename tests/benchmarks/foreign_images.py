"""Photographs and drawings that no generator of faces made: 32 targets, of what is installed or drawn here."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage import data

Pixels = npt.NDArray[np.uint8]


def foreign_images(side: int) -> tuple[tuple[str, ...], Pixels]:
    """Names, and (image, side, side, rgb): 8 photographs of people, 12 of other things, 12 drawings."""
    images = {**_people(), **_things(), **_drawings()}
    resized = [Image.fromarray(image).convert("RGB").resize((side, side), Image.Resampling.LANCZOS) for image in
               images.values()]  # fmt: skip
    return tuple(images), np.stack([np.asarray(image) for image in resized])


def _people() -> dict[str, Pixels]:
    faces = data.lfw_subset()  # (200, 25, 25) grey in 0…1, the first half of it faces
    chosen = {f"face {index}": (faces[index] * 255).astype(np.uint8) for index in (3, 17, 31, 45, 59, 73)}
    return {
        "astronaut": data.astronaut()[:240, 100:340],
        "cameraman": data.camera()[60:260, 130:330],
        **chosen,
    }


def _things() -> dict[str, Pixels]:
    scenes = {
        "cat": data.chelsea()[20:280, 80:340],
        "coffee": data.coffee()[:, 100:500],
        "rocket": data.rocket()[:400, 120:520],
        "coins": data.coins()[:300, :300],
        "moon": data.moon(),
        "brick": data.brick(),
        "grass": data.grass(),
        "gravel": data.gravel(),
        "galaxies": data.hubble_deep_field()[:800, :800],
        "retina": data.retina(),
        "tissue": data.immunohistochemistry(),
        "page": data.page()[:, :190],
    }
    return {name: np.asarray(image) for name, image in scenes.items()}


def _drawings() -> dict[str, Pixels]:
    found = {}
    for number, (skin, hair, back, turn) in enumerate(
        (
            ("#f2c9a0", "#3b2417", "#8fb6d8", 0),
            ("#8d5a36", "#120c08", "#e6e2d3", 0),
            ("#f7dfc8", "#c9a227", "#3d6b4f", 3),
            ("#ffffff", "#ffffff", "#ffffff", 0),
            ("#c98f62", "#7a1f12", "#222222", -3),
            ("#ffd84d", "#ffd84d", "#ffffff", 0),
        )
    ):
        found[f"drawn face {number}"] = _face(skin, hair, back, turn)
    for name, colours in {"disc": ("#d8442f", "#f4f1e8"), "square": ("#27509b", "#cfd8dc")}.items():
        found[name] = _shape(name, *colours)
    found["triangle"] = _shape("triangle", "#2c8c4a", "#fdf6d8")
    y, x = np.mgrid[:128, :128]
    stripes = ((x // 16) % 2 * 255).astype(np.uint8)
    found["stripes"] = np.repeat(stripes[..., None], 3, axis=2)
    found["gradient"] = np.stack([2 * x, 2 * y, 255 - 2 * x], axis=2).astype(np.uint8)
    found["rings"] = np.repeat(
        (127 + 127 * np.sin(np.hypot(x - 64, y - 64) / 4)).astype(np.uint8)[..., None], 3, axis=2
    )
    return found


def _face(skin: str, hair: str, back: str, turn: int) -> Pixels:
    image = Image.new("RGB", (256, 256), back)
    draw = ImageDraw.Draw(image)
    draw.ellipse((52, 22, 204, 220), fill=hair, outline="black", width=3)
    draw.ellipse((64, 52, 192, 236), fill=skin, outline="black", width=3)
    for side in (-1, 1):
        middle = 128 + 30 * side + turn
        draw.ellipse((middle - 16, 116, middle + 16, 136), fill="white", outline="black", width=2)
        draw.ellipse((middle - 6, 119, middle + 6, 133), fill="black")
        draw.line((middle - 18, 104, middle + 18, 102), fill="black", width=4)
    draw.line((128 + turn, 132, 120 + turn, 168, 132 + turn, 170), fill="black", width=3)
    draw.arc((100 + turn, 170, 156 + turn, 206), 10, 170, fill="#a03030", width=6)
    return np.asarray(image)


def _shape(name: str, colour: str, back: str) -> Pixels:
    image = Image.new("RGB", (256, 256), back)
    draw = ImageDraw.Draw(image)
    if name == "disc":
        draw.ellipse((56, 56, 200, 200), fill=colour)
    elif name == "square":
        draw.rectangle((64, 64, 192, 192), fill=colour)
    else:
        draw.polygon(((128, 40), (220, 208), (36, 208)), fill=colour)
    return np.asarray(image)
