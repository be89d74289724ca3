"""Draws docs/pictures/adjoint.webp from a mined run: `python docs/pictures/adjoint.py runs/faces`."""

import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rosetta.mining.grid import upsampling
from storage import open_run

IMAGE = 7
COARSE, FINE = ("dcgan", "main.5", 171), ("lite2", "blocks.4", 85)
"""Model, layer and channel of two units that match: one of the generator, one of a classifier."""

Map = npt.NDArray[np.float64]


def main(root: str) -> None:
    """Draw one image's maps, the way that upsamples, and the way that pulls back."""
    run = open_run(root)

    def centred(model: str, layer: str, channel: int) -> Map:
        maps = run.activations(model)[layer].activation[:, channel].astype("float64").to_numpy()
        return (maps[IMAGE] - maps.mean()) / maps.std()

    a, b = centred(*COARSE), centred(*FINE)
    up = upsampling(len(a), len(b))
    upsampled, pulled = up @ a @ up.T, up.T @ b @ up
    rows = [
        ("Upsampling: ⟨U a, b⟩", ("U a", upsampled), ("b", b)),
        ("Pulling back: ⟨a, Uᵀ b⟩", ("a", a), ("Uᵀ b", pulled)),
    ]
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, left, right) in zip(figure.subplots(2, 4), rows, strict=True):
        product = left[1] * right[1]
        for place, (name, values) in zip(axes, [left, right, (f"{left[0]} · {right[0]}", product)], strict=False):
            reach = np.abs(values).max()
            place.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
            place.set_title(f"{name},  {len(values)} × {len(values)}", fontsize=10)
            place.set_xticks([])
            place.set_yticks([])
        axes[3].set_axis_off()
        axes[3].text(0, 0.5, f"{title}\n\nsum {product.sum():.4f}\nof {product.size} products", va="center")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110, facecolor="white")
    Image.open(buffer).convert("RGB").save(Path(__file__).with_suffix(".webp"), quality=88, method=6)


if __name__ == "__main__":
    main(sys.argv[1])
