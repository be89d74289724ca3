"""The tables of a run that real stages made: every column is described, and all join on the same keys."""

import pandas as pd
import pyarrow.parquet as pq
import pytest
from atlas_files import GRIDS, finished_run

from storage.artifacts.catalogue import columns_at, tables_of_run
from storage.filesystem.root import Root

MODELS = list(GRIDS)
LAYERS = list(dict.fromkeys(layer for layers in GRIDS.values() for layer in layers))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Root:
    root = Root(str(tmp_path_factory.mktemp("run")))
    finished_run(root)
    return root


def stored(root: Root, path: str) -> pd.DataFrame:
    """As a person reads it."""
    return pd.read_parquet(root.local / path)


def test_every_column_of_every_table_is_described(root):
    paths = root.find("tables")
    of_pairs = {"trust": 4, "examined": 4, "excess": 3, "assigned": 3}
    assert len(paths) == len(tables_of_run()) + sum(of_pairs.values())
    for path in paths:
        schema, columns = pq.read_schema(root.local / path), columns_at(path)
        assert [field.metadata[b"description"].decode() for field in schema] == [column.about for column in columns]
        dtypes = {column.name: column.dtype for column in columns}
        assert stored(root, path).dtypes.astype(str).to_dict() == dtypes


def test_models_and_layers_are_the_same_categories_in_every_table(root):
    for table in tables_of_run():
        for column in stored(root, table.path()).select_dtypes("category").items():
            name, values = column
            known = MODELS if name.startswith("model") else LAYERS
            assert values.cat.categories.tolist() == (known if len(values) else []), table.path()
    # Of a pair, those of its two models: nothing else decides about the table.
    pair = stored(root, "tables/trust/g~d.parquet")
    assert pair["model_a"].cat.categories.tolist() == pair["model_b"].cat.categories.tolist() == ["g", "d"]
    assert pair["layer_b"].cat.categories.tolist() == [*GRIDS["g"], *GRIDS["d"]]


@pytest.mark.parametrize("key", [("model", "unit"), ("model", "layer", "channel")])
@pytest.mark.parametrize("path", ["tables/buddies.parquet", "tables/trust.parquet", "tables/trust/g~d.parquet"])
def test_both_sides_of_every_pair_find_their_unit(root, path, key):
    units, pairs = stored(root, "tables/units.parquet"), stored(root, path)
    rest = ({"unit", "layer", "channel"} - set(key)).pop() if len(key) == 3 else "channel"
    for side in "ab":
        joined = pairs.merge(units, left_on=[f"{name}_{side}" for name in key], right_on=list(key), how="left")
        assert len(joined) == len(pairs) > 0
        assert joined[rest].tolist() == pairs[f"{rest}_{side}"].tolist()
        assert joined["std"].notna().all()


def test_neurons_find_their_matches(root):
    """The value of a neuron's row is that of its match with the anchor."""
    neurons, trust = stored(root, "tables/rosetta.parquet"), stored(root, "tables/trust.parquet")
    members = neurons[neurons["pearson"].notna()]
    joined = members[["anchor_unit", "model", "unit"]].merge(
        trust[trust["model_a"] == "g"],
        left_on=["anchor_unit", "model", "unit"],
        right_on=["unit_a", "model_b", "unit_b"],
    )
    assert len(joined) == len(members) > 0
    for name in ("pearson", "q_value", "lift", "pearson_partial"):
        assert joined[name].tolist() == members[name].tolist()
    assert joined["model"].dtype == neurons["model"].dtype, "categories, not text"
