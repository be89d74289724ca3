"""`rosetta zoo MODEL --weights PATH --check IMAGE`: whether weights are those of a model, for a person to see."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.command.json_output import print_json
from rosetta.errors import UserError
from rosetta.recipe import Images

if TYPE_CHECKING:
    from rosetta.zoo import Model
    from rosetta.zoo.check import Checked
    from rosetta.zoo.image_arrays import Pixels

_SEED = re.compile("[0-9]{1,18}")
_ANY_SIDE = 16
_FIRST = 4
"""Names of tensors that a line shows."""


def tensors_of(model: "Model") -> dict[str, Any] | None:
    """Which tensors of the checkpoint were used, for JSON; None where nothing tells."""
    found = model.assignment
    if found is None:
        return None
    return {"used": len(found.used), "left_over": found.left_over, "filled_in": found.filled_in}


def print_tensors(model: "Model") -> None:
    """Say which tensors of the checkpoint were used."""
    found = model.assignment
    if found is None:
        untrained = model.spec.weights.startswith("random:")
        print("Tensors: none read, the model is untrained." if untrained else "Tensors: all as the library loads them.")
        return
    total = len(found.used) + len(found.filled_in)
    print(f"Used: {len(found.used):,} of the model's {total:,} tensors are from {model.spec.weights}.")
    if found.left_over:
        print(f"Left over: {_named(found.left_over)}; the model has no place for them.")
    if found.filled_in:
        print(f"Filled in: {_named(found.filled_in)}; the weights lack them and no captured layer needs them.")


def require_image(image: str) -> None:
    """
    Raises
    ------
    UserError
        There is no such file, and the text is no seed either; or the file is no image.
    """
    path = Path(image)
    if path.is_dir():
        raise UserError(f"--check {image} is a folder; give the path of one image")
    if path.exists():
        _pixels(image, _ANY_SIDE)
    elif not _SEED.fullmatch(image):
        raise UserError(f"--check {image}: no such file; give the path of an image, or the seed of a generator's image")


def check_model(model: "Model", image: str, picture: Path, as_json: bool) -> None:
    """Show a model an image, or let a generator make one; print what it makes of it and write a picture.

    Raises
    ------
    UserError
        There is no such image, or the picture cannot be written.
    """
    from rosetta.view.pictures.check import draw_check
    from rosetta.view.pictures.sheet import encode
    from rosetta.zoo.check import check_image, check_seed

    if model.preprocessing is None:
        checked, name = check_seed(model, _seed(image)), f"the image of seed {image}"
    else:
        checked, name = check_image(model, _pixels(image, max(model.preprocessing.size))), Path(image).name
    found = model.assignment
    used = f", {len(found.used):,} of {len(found.used) + len(found.filled_in):,} tensors used" if found else ""
    figure = draw_check(checked, model.spec.model, f"{model.spec.weights}{used}", name)
    try:
        picture.write_bytes(encode(figure, "png"))
    except OSError as error:
        raise UserError(f"--out {picture}: {error.strerror}; name a file that can be written") from None
    if as_json:
        print_json(_record(model, checked, picture))
        return
    print_tensors(model)
    _print_classes(checked, image)
    print(f"Picture: {picture}")


def _record(model: "Model", checked: "Checked", picture: Path) -> dict[str, Any]:
    return {
        "model": model.spec.model,
        "weights": model.spec.weights,
        "weights_sha256": model.weights_sha256,
        "tensors": tensors_of(model),
        "classes": None
        if checked.classes is None
        else [{"index": one.index, "name": one.name, "probability": one.probability} for one in checked.classes],
        "units": [
            {"layer": one.layer, "channel": one.channel, "peak": one.peak} for row in checked.layers for one in row
        ],
        "picture": str(picture),
    }


def _print_classes(checked: "Checked", image: str) -> None:
    if checked.classes is None:
        return
    if not checked.classes:
        print("Classes: none, as the weights hold no classifier.")
        return
    print(f"Likeliest classes of {image}:")
    for one in checked.classes:
        print(f"{one.probability:7.1%}  {one.name or f'class {one.index}'}")


def picture_path(model: str, out: Path | None) -> Path:
    """Where the picture goes; only a file that was named is replaced.

    Raises
    ------
    UserError
        There is a file already, or no such folder.
    """
    if out is None:
        path = Path(re.sub(r"[^\w.]+", "-", model).strip("-.") + "-check.png")
        if path.exists():
            raise UserError(f"{path} is there already; remove it, or name it with --out to replace it")
        return path
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file inside it")
    return out


def _seed(text: str) -> int:
    if not _SEED.fullmatch(text):
        raise UserError(f"--check {text}: the model makes images itself; give the seed of one, for example --check 0")
    return int(text)


def _pixels(image: str, side: int) -> "Pixels":
    """(y, x, rgb) of an image, cropped to a square as a run crops those of a source."""
    from tasks.source.image_file import ImageFile
    from tasks.source.pixels import BadImageError, content_of, square

    path = Path(image)
    if not path.exists():
        raise UserError(f"--check {image}: no such file; give the path of an image")
    file = ImageFile(str(path.absolute()), path.name, path.stat().st_size, "")
    try:
        return square(file, content_of(file), Images(size=side)).pixels
    except BadImageError as error:
        raise UserError(f"--check {image} {error.reason}; give the path of an image") from None


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - _FIRST
    return f"{len(names):,} ({', '.join(names[:_FIRST])}{f' and {more:,} more' if more > 0 else ''})"
