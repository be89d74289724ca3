"""Features of a sparse autoencoder: what their store takes, and how fast they are correlated without their zeros.

A layer of a ViT-B, 14 × 14, with 16,384 features of which one in a hundred is active at a position, against 4,096
units of another model on that grid. The same maps, stored as layers are that are not mostly zeros, are correlated the
dense way.
"""

import numpy as np
from faces import folder_bytes
from figures import BENCH, clear, figure, in_turn, report, timed
from synthetic import write

from rosetta.units import Layer
from storage.artifacts.catalogue import CORRELATIONS
from storage.artifacts.correlations import CorrelationStore
from storage.artifacts.fingerprint import fingerprint
from storage.artifacts.shards import best_codec
from storage.filesystem.root import Root
from tasks.correlate.pair import correlate
from tasks.correlate.setting import Setting

FEATURES = [Layer("blocks.9@sae", 16_384, (14, 14), sparse=True)]
UNITS = [Layer(f"block.{number}", 1024, (14, 14)) for number in range(4)]
ACTIVE = 0.01
IMAGES = 256
REPEATS = 1
SETTING = Setting(threads=2, memory=4 << 30)


def seconds_of(root: Root, name: str) -> float:
    """Seconds to correlate one of the stores with the units."""
    root.remove(CORRELATIONS.path(name, "units"))
    return timed(lambda: correlate(root, {(name, "units"): fingerprint("bench")}, SETTING))


def chosen_codec() -> str:
    """What a dump would choose for such maps, from a chunk of them."""
    random = np.random.default_rng(0)
    shape = (8, 12, 14, 14)
    return best_codec(np.where(random.random(shape) < ACTIVE, random.exponential(size=shape), 0).astype(np.float32))


def main() -> None:
    """Measure, add to bench.json, print the table."""
    BENCH.mkdir(parents=True, exist_ok=True)
    clear("sparse")
    root = Root(str(BENCH / "sparse"))
    root.write_bytes("recipe.toml", b"")
    write(root, "sparse", FEATURES, IMAGES, 0, active=ACTIVE, codec=chosen_codec())
    write(root, "dense", FEATURES, IMAGES, 0, active=ACTIVE, codec="lz4")
    write(root, "units", UNITS, IMAGES, 1)
    size = folder_bytes(BENCH / "sparse" / "activations" / "sparse.zarr")
    share = size / (2 * IMAGES * FEATURES[0].values)
    dense, sparse = in_turn(REPEATS, lambda: seconds_of(root, "dense"), lambda: seconds_of(root, "sparse"))
    one, other = (CorrelationStore.read(root, name, "units").pearson() for name in ("dense", "sparse"))
    change = float(np.nanmax(np.abs(one - other)))
    report(
        f"16,384 features, one in a hundred active, against 4,096 units over {IMAGES} images",
        {
            "sparse_store_over_dense_float16": figure(share, "ratio", "≤ 0.05", share <= 0.05),
            "sparse_correlate_speedup": figure(dense / sparse, "ratio", "≥ 5", dense / sparse >= 5),
            "sparse_correlate_seconds": figure(sparse, "s"),
            "sparse_correlation_change": figure(change, "", "≤ 1e-6", change <= 1e-6),
        },
    )
    clear("sparse")


if __name__ == "__main__":
    main()
