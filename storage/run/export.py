"""A part of a run in one file, NetCDF or Zarr, for people who want nothing but that part."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from rosetta.errors import UserError
from storage.artifacts.attributes import encode
from storage.artifacts.catalogue import RECIPE, TRUST
from storage.artifacts.layout import CONVENTIONS
from storage.artifacts.store import ArtifactStore
from storage.run.chosen import Chosen
from storage.run.views import RunViews, variables

SUFFIXES = (".nc", ".zarr")
_UNITS, _IMAGES = 256, 64
"""In a chunk of peaks, and of pixels."""
_OF_LAYOUT = {
    "block",
    "chunk",
    "codecs",
    "complete",
    "coordinates",
    "frames",
    "images",
    "layers",
    "left_out",
    "summary",
}
_COMPRESSED = {"zlib": True, "complevel": 1}
"""How NetCDF stores pixels and maps."""


def require_new(out: Path) -> None:
    """
    Raises
    ------
    UserError
        Nothing can be written there: it has no such suffix, something is there, or its folder is not.
    """
    if out.suffix not in SUFFIXES:
        raise UserError(f"{out} is neither NetCDF nor Zarr; name a file that ends in {' or '.join(SUFFIXES)}")
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists; remove it, or name another file")
    if not out.absolute().parent.is_dir():
        raise UserError(f"there is no folder {out.absolute().parent}; create it, or name another file")


def matched_units(run: RunViews) -> dict[str, npt.NDArray[np.intp]]:
    """By model: the units that are part of a Rosetta neuron, in order."""
    rows = run.rosetta
    by_model = {model: np.unique(rows.loc[rows["model"] == model, "unit"]).astype(np.intp) for model in run.models}
    return {model: units for model, units in by_model.items() if len(units)}


def exported(run: RunViews, units: Mapping[str, Chosen], images: Chosen | None = None) -> xr.DataTree:
    """A part of a run as one tree, read when it is computed.

    Parameters
    ----------
    units
        By model: which units.
    images
        All where none are given.

    Returns
    -------
    DataTree
        `images` with `pixels` (image, y, x, rgb) and, of a generator, `latent` (image, z); `units/<model>` with
        peaks, statistics and what the tables say; `maps/<model>/<layer>` with `activation` (image, channel, y, x);
        `matches` (match), the rows of the table of trust with one of the units on either side.

    Raises
    ------
    UserError
        There is no such model, unit or image.
    """
    shown = run.chosen(slice(None) if images is None else images)
    numbers = {model: run.chosen_units(model, chosen) for model, chosen in units.items()}
    pixels = run.images[[name for name in ("pixels", "latent") if name in run.images]]
    pixels.attrs, known = {}, run.known_of_images
    parts = {
        "/": xr.Dataset(coords={name: values[shown] for name, values in known.items()}),
        "images": pixels.isel(image=shown).chunk({"image": _IMAGES}).assign_attrs(_about(run.pictures)),
        "matches": _matches(run.trust, numbers),
    }
    for model, chosen in numbers.items():
        parts[f"units/{model}"] = run.units(model).isel(image=shown, unit=chosen).chunk({"image": -1, "unit": _UNITS})
        tree = run.activations(model, chosen, run.image_indices[shown])
        parts[f"maps/{model}"] = xr.Dataset(attrs=_about(run.stores[model]))
        for name, layer in tree.children.items():
            parts[f"maps/{model}/{name}"] = layer.to_dataset(inherit=False)[["activation"]]
    count = sum(map(len, numbers.values()))
    parts["/"].attrs = {
        "Conventions": CONVENTIONS,
        "title": f"part of the run {run.name}",
        "summary": f"{count} units of {', '.join(numbers)} over {len(shown)} of {run.seen} images",
        "recipe": run.root.read_bytes(RECIPE.path()).decode(),
    }
    return xr.DataTree.from_dict(parts)


def write(tree: xr.DataTree, out: Path) -> None:
    """Write a tree to a new file, as a whole or not at all.

    Raises
    ------
    UserError
        Nothing can be written there, see :func:`require_new`.
    """
    require_new(out)
    is_netcdf = out.suffix == ".nc"
    # The encodings of the stores are for their own chunks.
    nodes = {node.path: node.to_dataset(inherit=False).drop_encoding() for node in tree.subtree}
    for dataset in nodes.values():
        for name in ("pixels", "activation") if is_netcdf else ():
            if name in dataset:
                dataset[name].encoding = dict(_COMPRESSED)
    plain = xr.DataTree.from_dict(nodes)
    with TemporaryDirectory(prefix=f".{out.name}-", dir=out.absolute().parent) as beside, warnings.catch_warnings():
        # Text has no specification in Zarr 3 yet, and gathered metadata neither; all readers of today know both.
        warnings.simplefilter("ignore")
        part = Path(beside) / out.name
        if is_netcdf:
            plain.to_netcdf(part, engine="h5netcdf")
        else:
            plain.to_zarr(part)
        require_new(out)
        part.rename(out)


def _about(store: ArtifactStore) -> dict[str, Any]:
    """What the attributes of a store say of its content, and not of its own layout."""
    return encode({name: value for name, value in store.attributes.items() if name not in _OF_LAYOUT})


def _matches(trust: pd.DataFrame, units: Mapping[str, npt.NDArray[np.intp]]) -> xr.Dataset:
    """(match,) the rows of the table of trust with one of the units on either side."""
    kept = np.zeros(len(trust), dtype=bool)
    for model, numbers in units.items():
        for side in "ab":
            kept |= ((trust[f"model_{side}"] == model) & trust[f"unit_{side}"].isin(numbers)).to_numpy()
    return xr.Dataset(variables(trust[kept], "match", TRUST.columns))
