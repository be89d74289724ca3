"""What of a run is there, read from its stores alone."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import zarr

from rosetta.errors import UserError
from storage import provenance, tables
from storage.location import Root

TABLES = ("units", "buddies", "trust", "rosetta", "clusters")


@dataclass(frozen=True)
class Artifact:
    """One artifact and how far it is."""

    artifact: str
    state: str
    """`complete`, `missing`, or how much is there."""

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def require_run(root: Root) -> None:
    """
    Raises
    ------
    UserError
        There is no run under this root.
    """
    if not root.exists(provenance.RECIPE):
        raise UserError(f"{root.shown} holds no run (it has no {provenance.RECIPE}); give the root of one")


def stores(root: Root) -> list[str]:
    """Paths of all Zarr stores of a run that have been begun."""
    found = ["images.zarr"] if root.exists("images.zarr/zarr.json") else []
    found += ["features.zarr"] if root.exists("features.zarr/zarr.json") else []
    for folder in ("activations", "profiles", "correlations"):
        found += [f"{folder}/{name}" for name in root.list(folder) if name.endswith(".zarr")]
    return [*found, *(f"{place}/result.zarr" for place in guided(root))]


def guided(root: Root) -> list[str]:
    """Where inversions and edits lie that have been begun."""
    places = [f"{kind}/{name}" for kind in ("inversions", "edits") for name in root.list(kind)]
    return [place for place in places if root.exists(f"{place}/result.zarr/zarr.json")]


def artifacts(root: Root) -> list[Artifact]:
    """Every artifact that the root's recipe names or that lies there.

    Raises
    ------
    UserError
        There is no run under this root.
    """
    require_run(root)
    recipe = provenance.stored_recipe(root)
    assert recipe is not None
    begun = stores(root)
    expected = ["images.zarr", *(f"activations/{spec.name}.zarr" for spec in recipe.models)]
    listed = [Artifact(path, _store_state(root, path)) for path in dict.fromkeys([*expected, *begun])]
    for table in TABLES:
        state = "complete" if tables.attributes(root, table) else "missing"
        listed.append(Artifact(tables.path(table), state))
    page = "report/index.html"
    return [*listed, Artifact(page, "complete" if root.exists(page) else "missing")]


def _store_state(root: Root, path: str) -> str:
    if not root.exists(f"{path}/zarr.json"):
        return "missing"
    try:
        group = zarr.open_group(root.store(path, read_only=True), mode="r", use_consolidated=False)
        if group.attrs.get("complete"):
            return "complete"
        written: Any = group["written"]
        blocks = np.asarray(written[:])
        return f"{int(blocks.sum())} of {blocks.size} blocks"
    except (KeyError, ValueError, OSError, json.JSONDecodeError):
        return "damaged"
