"""Stage `layers`: CKA and RSA of every layer of the anchor with every layer of each model."""

from collections.abc import Mapping

import pandas as pd

from rosetta.mining.groups import Pair
from rosetta.mining.shape.alignment import (
    EXCHANGES,
    LEAST_IMAGES,
    Alignment,
    Geometry,
    alignment,
    exchanged,
    exchanges,
    geometry,
)
from rosetta.mining.shape.seeded import seeded
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.catalogue import LAYERS, PROFILES
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.artifacts.profiles import ProfileStore
from tasks.plan import Plan, Stage
from tasks.shape.frames import typed
from tasks.stage.progress import track


def fingerprint_of(plan: Plan) -> Fingerprint:
    """Of the table of pairs of layers."""
    return fingerprint(
        "layers",
        profiles=plan.digests(PROFILES),
        anchor=plan.anchor,
        exchanges=EXCHANGES,
        seed=plan.recipe.images.seed,
    )


def write_layers(plan: Plan) -> None:
    """`tables/layers.parquet`: how alike layers are as wholes, from the small thumbs of at most 256 images."""
    root, anchor = plan.root, plan.anchor
    profiles = {name: ProfileStore.read(root, name) for name in plan.names}
    units = {name: profile.units for name, profile in profiles.items()}
    images = profiles[anchor].images
    frames, notes = [typed([], LAYERS.columns)], []
    if images < LEAST_IMAGES:
        notes.append(f"{images} images are too few to compare layers by; give at least {LEAST_IMAGES}")
    else:
        with track("layers", len(profiles)) as advance:
            of_anchor = _geometry(profiles[anchor])
            orders = exchanges(of_anchor.images, seeded(plan.recipe.images.seed, "layers"))
            null = exchanged(of_anchor, orders)
            for name, profile in profiles.items():
                other = of_anchor if name == anchor else _geometry(profile)
                frames.append(_frame((anchor, name), units, alignment(of_anchor, other, null)))
                advance(1)
    frame = pd.concat(frames, ignore_index=True)
    tables.write(root, LAYERS.path(), frame, plan.fingerprint(LAYERS), tables.categories_of(units), notes=notes)


WRITE_LAYERS = Stage(
    "layers",
    (LAYERS,),
    fingerprint_of,
    write_layers,
    when=lambda plan: "layers" not in plan.recipe.trust.leave_out,
)


def _geometry(profile: ProfileStore) -> Geometry:
    return geometry(profile.of_layer(layer.name, "shape") for layer in profile.units.layers)


def _frame(pair: Pair, units: Mapping[str, Units], found: Alignment) -> pd.DataFrame:
    names = [[layer.name for layer in units[model].layers] for model in pair]
    rows = pd.MultiIndex.from_product(names, names=["layer_a", "layer_b"]).to_frame(index=False)
    values = {name: getattr(found, name).ravel() for name in ("cka", "cka_null", "rsa", "rsa_null")}
    return typed(rows.assign(model_a=pair[0], model_b=pair[1], **values), LAYERS.columns)
