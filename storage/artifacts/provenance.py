"""`recipe.toml` and `provenance.json`: the recipe as run, versions, device, stages and fingerprints."""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from typing import Any

from rosetta.errors import UserError
from rosetta.recipe import Recipe, parse_recipe
from storage.artifacts import catalogue
from storage.artifacts.fingerprint import FORMAT, first_difference, require_known
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root

RECIPE, PROVENANCE = catalogue.RECIPE.path(), catalogue.PROVENANCE.path()
_PACKAGES = ("rosetta-mine", "torch", "torchvision", "timm", "numpy", "zarr", "xarray", "dask", "prefect")


def stored_recipe(root: Root) -> Recipe | None:
    """The recipe that made the root, or None where the root is new.

    Raises
    ------
    UserError
        It cannot be read, or a newer version of this project made the root.
    """
    if not root.exists(RECIPE):
        return None
    require_known(_record(root).get("format"), root.shown)
    text = root.read_bytes(RECIPE).decode("utf-8", errors="replace")
    return parse_recipe(text, f"{root.shown}/{RECIPE}")


def ended_with(recipe: Recipe) -> bool:
    """Whether a run with the same recipe has finished on this machine, as far as one small file can tell.

    Its stores are not checked for damage. False for a root elsewhere.
    """
    root = Root(recipe.root)
    if (local := root.local) is None or not (local / PROVENANCE).exists():
        return False
    try:
        stored = root.read_bytes(RECIPE).decode()
        if recipe.images.size is None:  # it follows from the models, and is recorded
            size = parse_recipe(stored, RECIPE).images.size
            recipe = recipe.model_copy(update={"images": recipe.images.model_copy(update={"size": size})})
        return stored == recipe.to_toml()
    except (OSError, UnicodeDecodeError, UserError):
        return False


def require_run(root: Root) -> None:
    """
    Raises
    ------
    UserError
        There is no run under this root, or one that a newer version of this project made.
    """
    if not root.exists(RECIPE):
        raise UserError(f"{root.shown} holds no run (it has no {RECIPE}); give the root of one")
    require_known(_record(root).get("format"), root.shown)


def require_same_run(root: Root, recipe: Recipe) -> None:
    """A root belongs to one recipe, which may gain and lose models and move to other machines.

    Raises
    ------
    UserError
        The root was made by another recipe; says in what they differ.
    """
    stored = stored_recipe(root)
    if stored is None:
        return
    before, after = _identity(stored), _identity(recipe)
    # Models may be added and removed; only one that changed makes another run.
    shared = before["models"].keys() & after["models"].keys()
    for side in (before, after):
        side["models"] = {name: spec for name, spec in side["models"].items() if name in shared}
    if difference := first_difference(before, after):
        raise UserError(
            f"root {root.shown} was made by another recipe ({difference}); choose another --root, or give --replace to "
            "rebuild what differs"
        )


def _identity(recipe: Recipe) -> dict[str, Any]:
    """The part of a recipe that decides about the numbers."""
    data = recipe.model_dump(mode="json")
    for key in ("from_", "source", "labels", "order", "skip_bad", "max_pixels"):
        del data["images"][key]  # where images lie; their store knows which they are, in which order, of which class
    return {
        "images": data["images"],
        "models": {spec.pop("name"): spec for spec in data["models"]},
        "matching": data["matching"],
        "compute": {key: data["compute"][key] for key in ("dtype", "chunk_mib", "precision")},
    }


def recipe_digest(root: Root) -> str | None:
    """SHA-256 of what the recipe under a root says about numbers; None where there is none that can be read.

    It is the same wherever the run lies, and another once the run gains a model.
    """
    try:
        recipe = stored_recipe(root)
    except UserError:  # of no use to a label, and no reason to stop
        return None
    return sha256(json.dumps(_identity(recipe), sort_keys=True).encode()).hexdigest() if recipe else None


def write_recipe(root: Root, recipe: Recipe) -> None:
    """Write the recipe as run, unless it is there already."""
    content = recipe.to_toml().encode()
    if not root.exists(RECIPE) or root.read_bytes(RECIPE) != content:
        break_seal(root, RECIPE)
        root.write_bytes(RECIPE, content)


def write_provenance(
    root: Root,
    *,
    device: str,
    weights: Mapping[str, str],
    fingerprints: Mapping[str, str],
    stages: list[dict[str, object]],
    retries: int,
) -> None:
    """Add this run to the root's provenance."""
    before = _record(root).get("runs")
    record: dict[str, Any] = {"format": FORMAT, "runs": before if isinstance(before, list) else []}
    record["fingerprints"] = dict(fingerprints)
    record["weights_sha256"] = dict(weights)
    record["runs"].append(
        {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": device,
            "versions": {name: _version(name) for name in _PACKAGES},
            "stages": stages,
            "retries": retries,
        }
    )
    break_seal(root, PROVENANCE)
    root.write_bytes(PROVENANCE, json.dumps(record, indent=2).encode())


def renew(root: Root, renewed: Mapping[str, str], fingerprints: Mapping[str, str]) -> None:
    """Record that a root was rewritten in this format; does nothing where no run has ended yet.

    Parameters
    ----------
    renewed
        Fingerprints now by what they were.
    fingerprints
        By path: those of a finished run; empty for any other.
    """
    if not root.exists(PROVENANCE):
        return
    record = _record(root)
    before: Any = record.get("fingerprints", {})
    now = dict(fingerprints) or {path: renewed.get(digest, digest) for path, digest in before.items()}
    break_seal(root, PROVENANCE)
    root.write_bytes(PROVENANCE, json.dumps({**record, "format": FORMAT, "fingerprints": now}, indent=2).encode())


def finished_on(root: Root) -> str:
    """The day when the last run under a root ended; empty where none has, or nothing tells."""
    try:
        return datetime.fromisoformat(_record(root)["runs"][-1]["finished"]).date().isoformat()
    except (KeyError, IndexError, TypeError, ValueError):
        return ""


def _record(root: Root) -> dict[str, Any]:
    """The content of the file; empty where there is none, or it is damaged."""
    try:
        return dict(json.loads(root.read_bytes(PROVENANCE)))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
