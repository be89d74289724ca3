"""Tables keep what is written, say what their columns are, and take no frame that the catalogue does not describe."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from described import described
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAMES, table_rows

from rosetta.mining.trust.tests import TESTS
from rosetta.units import Layer, Units
from storage.artifacts import catalogue, tables
from storage.artifacts.catalogue import all_tables, columns_at
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root

MADE = fingerprint("table", of=1)
PATHS = [table.pattern.format(a="a", b="b", name="x") for table in all_tables()]
UNITS = catalogue.UNITS.path()


def typed(path: str, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """The rows as a stage hands them over: text for categories."""
    columns = {column.name: "str" if column.dtype == "category" else column.dtype for column in columns_at(path)}
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


@given(data=st.data(), path=st.sampled_from(PATHS), models=st.lists(NAMES, max_size=4, unique=True))
def test_any_rows_come_back_as_they_were(data, path, models):
    frame = typed(path, data.draw(table_rows(columns_at(path))))
    content = tables.encode(path, frame, MADE, {"model": models}, notes=["a note"])
    assert tables.encode(path, frame.copy(), MADE, {"model": models}, notes=["a note"]) == content
    pd.testing.assert_frame_equal(tables.decode(content), frame, check_exact=True)
    assert tables.attributes_of(content)["notes"] == ["a note"]
    plain = pd.read_parquet(io.BytesIO(content))
    assert [str(dtype) for dtype in plain.dtypes] == [column.dtype for column in columns_at(path)]
    for column in columns_at(path):
        if column.dtype == "category":
            assert plain[column.name].tolist() == frame[column.name].tolist()
            if column.kind == "model" and len(frame):  # a file without rows keeps no categories
                others = [name for name in frame[column.name].unique() if name not in models]
                assert plain[column.name].cat.categories.tolist() == [*models, *others]


@pytest.mark.parametrize("path", PATHS)
def test_the_file_says_what_its_columns_are(path):
    schema = pq.read_schema(io.BytesIO(tables.encode(path, typed(path, []), MADE)))
    for field, column in zip(schema, columns_at(path), strict=True):
        assert field.name == column.name
        assert field.metadata[b"description"].decode() == column.about
        assert field.metadata.get(b"units", b"").decode() == column.units


@pytest.mark.parametrize("path", PATHS)
def test_every_column_is_described_in_a_phrase(path):
    columns = columns_at(path)
    assert len({column.name for column in columns}) == len(columns) > 0
    for column in columns:
        assert column.dtype in ("category", "str", "bool", "int32", "int64", "float32", "float64")
        assert column.about.strip(" .") == column.about != ""
        # Numbers say what they are measured in; names, indices and flags are no quantities.
        assert column.units or not column.dtype.startswith("float")
        assert not column.units or column.dtype.startswith(("float", "int"))
        if column.kind in ("unit", "channel"):
            assert column.dtype == "int32"


def test_neurons_carry_the_column_of_each_test():
    assert [column.name for column in columns_at(catalogue.ROSETTA.path())[-len(TESTS) :]] == [
        test.column for test in TESTS
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda frame: frame.drop(columns="kurtosis"), "the columns are", id="missing"),
        pytest.param(lambda frame: frame.assign(more=1), "the columns are", id="more"),
        pytest.param(lambda frame: frame[frame.columns[::-1]], "the columns are", id="order"),
        pytest.param(lambda frame: frame.astype({"unit": "int64"}), "unit is int64, and int32", id="integers"),
        pytest.param(lambda frame: frame.astype({"mean": "float32"}), "mean is float32, and float64", id="floats"),
        pytest.param(lambda frame: frame.assign(layer=1), "layer is int64, and category", id="no text"),
        pytest.param(lambda frame: frame.assign(layer=[None, "a"]), "null", id="no name"),
    ],
)
def test_a_frame_that_is_not_described_is_not_written(tmp_path, change, says):
    root, frame = Root(str(tmp_path)), described(UNITS, pd.DataFrame({"unit": range(2)}))
    tables.write(root, UNITS, frame, MADE)
    before = root.read_bytes(UNITS)
    with pytest.raises(ValueError, match=says):
        tables.write(root, UNITS, change(frame), MADE)
    assert root.read_bytes(UNITS) == before


def test_a_table_that_is_not_in_the_catalogue_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"tables/more.parquet: the catalogue does not describe"):
        tables.write(Root(str(tmp_path)), "tables/more.parquet", pd.DataFrame({"x": [1]}), MADE)


def test_categories_are_the_models_of_the_run_and_layers_in_forward_order():
    units = {
        "late": Units((Layer("stem", 1, (2, 2)), Layer("block.10", 2, (2, 2)), Layer("block.9", 1, (1, 1)))),
        "early": Units((Layer("block.9", 3, (2, 2)), Layer("head", 1, (1, 1)))),
    }
    assert tables.categories_of(units) == {
        "model": ["late", "early"], "layer": ["stem", "block.10", "block.9", "head"],
    }  # fmt: skip


@pytest.mark.parametrize("given", [{}, {"model": ["d", "g"], "layer": ["y", "x"]}], ids=["as they appear", "given"])
@pytest.mark.parametrize("key", [("model", "unit"), ("model", "layer", "channel")])
def test_pairs_join_units_whatever_the_categories(given, key):
    """Against a dictionary: a row of pairs gets the mean of its unit B."""
    rows = [(model, layer, channel) for model in "gd" for layer in "xy" for channel in range(3)]
    units = pd.DataFrame(rows, columns=["model", "layer", "channel"])
    units = units.assign(unit=units.groupby("model").cumcount(), mean=np.arange(len(rows)) / 7)
    picked = units.sample(8, random_state=0).reset_index(drop=True)
    pairs = picked[["model", "layer", "channel", "unit"]].add_suffix("_b").assign(model_a="g", layer_a="x")
    paths = UNITS, catalogue.BUDDIES.path()
    stored, matches = (
        pd.read_parquet(io.BytesIO(tables.encode(path, described(path, frame), MADE, given)))
        for path, frame in zip(paths, (units, pairs), strict=True)
    )
    joined = matches.merge(stored, left_on=[f"{name}_b" for name in key], right_on=list(key), how="left")
    assert joined["mean"].tolist() == picked["mean"].tolist()
    if given:
        assert joined["model_b"].dtype == joined["model"].dtype == stored["model"].dtype
        assert joined["model"].cat.categories.tolist() == given["model"]
