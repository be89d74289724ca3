"""Keeps a small real run of this version of the layout: `PYTHONPATH=.:tests/helpers python
tests/stores_of_versions/make.py`.

To be run once when storage.artifacts.fingerprint.FORMAT rises, and to be committed; what older versions wrote is never
rebuilt.
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from tinyzoo import recipe_text

from flows.command.main import main
from storage import open_run
from storage.artifacts.fingerprint import FORMAT
from storage.artifacts.seals import break_seal
from storage.filesystem.root import Root
from storage.run.run import Run
from storage.upkeep.sealing import seal_finished

PLACE = Path(__file__).parent
PAIR = ("painter", "ada")


def numbers(run: Run) -> dict[str, object]:
    """What every later version must read the same in a run."""
    store, table = run.stores["ada"], run.trust
    return {
        "images": run.images.sizes["image"],
        "models": list(run.models),
        "units": {name: len(held.units) for name, held in run.stores.items()},
        "pixels": int(run.pixels(slice(None)).astype(np.int64).sum()),
        "latents": float(np.abs(run.images["latent"].values).astype(np.float64).sum()),
        "activations": float(np.abs(store.maps("body.3", slice(None)).astype(np.float64)).sum()),
        "mean": store.mean().tolist(),
        "std": store.std().tolist(),
        "pearson": run.correlation(*PAIR)["pearson"].values[:3].astype(float).ravel().tolist(),
        "buddies": len(run.buddies),
        "trusted": int(table["trusted"].sum()) if "trusted" in table else None,
        "q_value": float(table["q_value"].sum()),
        "rosetta": int(run.rosetta["rosetta"].nunique()),
        "clusters": run.clusters["size"].tolist(),
        "mean_pearson": run.clusters["mean_pearson"].tolist(),
    }


def make() -> None:
    """Mine, keep the root as `<format>/root.zip` and its numbers beside it."""
    kept = PLACE / str(FORMAT)
    kept.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        root, recipe = Path(folder) / "root", Path(folder) / "tiny.toml"
        text = recipe_text("root", ("painter", "ada", "cyd"), count=32)
        recipe.write_text(text.replace("tinyzoo:painter", "tinyzoo:plain"))
        main(["mine", str(recipe), "--root", str(root)])
        # Where it was made says nothing to anyone.
        (root / "recipe.toml").write_text((root / "recipe.toml").read_text().replace(str(root), "root"))
        break_seal(Root(str(root)), "recipe.toml")
        seal_finished(Root(str(root)))
        with zipfile.ZipFile(kept / "root.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(root.rglob("*")):
                if path.is_file():
                    packed.write(path, path.relative_to(root))
        (kept / "expected.json").write_text(json.dumps(numbers(open_run(root)), indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(make())
