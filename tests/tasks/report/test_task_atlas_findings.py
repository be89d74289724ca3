"""What the atlas says of names, labels, classes and causes; and of tables about an earlier dictionary."""

import shutil
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from atlas_files import HOSTILE, MODELS, opened, read
from described import described

from storage.artifacts import after_mining, tables
from storage.artifacts.catalogue import CAUSES, CLASSES_OF_CONCEPTS, LABELS, MASKS, ROSETTA, SILENCED
from storage.artifacts.dictionary import dictionary_of, units_sha256
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.report.atlas.findings import COLUMNS, Findings, effects
from tasks.report.atlas.write import write_atlas

WORDS = [HOSTILE, "  blanks  ", "\u202eright to left", "long " * 80, "=1+1"]


def write(root: Root, artifact, rows: list[dict], **depends: object) -> None:
    path = artifact.path()
    tables.write(root, path, described(path, pd.DataFrame(rows)), fingerprint("planted", **depends))


def plant(root: Root) -> pd.DataFrame:
    """Tables about every concept; returns the table of Rosetta neurons."""
    rosetta = tables.read(root, ROSETTA.path())
    dictionary = dictionary_of(root)
    concepts = sorted(rosetta["cluster"].unique().tolist())
    # The second word of every concept is the best one that is listed last; that of concept 1 is no name.
    words = [
        {"subject": subject, "cluster": c, "kind": "text", "rank": rank, "label": WORDS[(c + rank) % len(WORDS)],
         "score": 5.0 - rank, "score_null": 2.5, "named": subject == "concept" and c != 1 and rank < 3}
        for c in concepts for rank in (2, 1, 3) for subject in ("unit", "concept")
    ]  # fmt: skip
    write(root, LABELS, words, dictionary=dictionary)
    masks = [
        {"model": "g", "cluster": c, "strongest": strongest, "rank": rank, "label": f"label {c} {rank}",
         "iou": (0.3 if strongest else 0.9) / rank / (1 + 9 * (c == 0)), "named": rank == 1 and c != 0}
        for c in concepts for strongest in (False, True) for rank in (1, 2)
    ]  # fmt: skip
    write(root, MASKS, masks, dictionary=dictionary)
    classes = [
        {"cluster": c, "rank": rank, "label": f"class {rank}", "images": 7, "auroc": 1 - rank / 10, "mean": np.nan}
        for c in concepts for rank in (2, 1)
    ]  # fmt: skip
    write(root, CLASSES_OF_CONCEPTS, classes)
    followed = rosetta[rosetta["pearson"].notna() & (rosetta["cluster"] != concepts[-1])]
    causes = followed[["rosetta", "cluster", "anchor_unit", "model", "unit", "layer", "channel"]].assign(
        causal_effect=np.linspace(-0.1, 0.9, len(followed)), causal_q=np.linspace(1, 0, len(followed)),
    )  # fmt: skip
    own = rosetta["rosetta"].isin(causes["rosetta"])
    write(root, CAUSES, causes.to_dict("records"), units_sha256=units_sha256(rosetta[own]))
    silenced = [
        {"cluster": 0, "model": "d", "units": 2, "rank": rank, "class": rank, "label": f"c{rank}", "cosine": np.nan}
        for rank in (0, 1, -1)
    ]  # fmt: skip
    mine = rosetta[(rosetta["cluster"] == 0) & (rosetta["model"] == "d")]
    write(root, SILENCED, silenced, units_sha256=units_sha256(mine))
    return rosetta


@pytest.fixture(scope="module")
def planted(made, tmp_path_factory):
    """A run's root, its table of Rosetta neurons, the atlas's folder and what the shell gets."""
    folder = tmp_path_factory.mktemp("planted") / "run"
    shutil.copytree(made[0].local, folder)
    root = Root(str(folder))
    rosetta = plant(root)
    return root, rosetta, folder / "report", write_atlas(opened(root), "a digest")


def test_columns_of_concepts(planted):
    _, _, folder, run = planted
    value, last = read(folder, "concepts"), run["concepts"] - 1
    assert last > 1
    for concept in range(run["concepts"]):
        named, labelled, caused = concept != 1, concept != 0, concept != last
        assert value["name"][concept] == (WORDS[(concept + 1) % len(WORDS)] if named else None)
        assert value["name_score"][concept] == (4.0 if named else None)
        assert value["label"][concept] == (f"label {concept} 1" if labelled else None)
        assert value["iou"][concept] == (0.3 if labelled else None)
        assert (value["class"][concept], value["auroc"][concept]) == ("class 1", 0.9)
        assert (value["effect"][concept] is not None, value["effect_q"][concept] is not None) == (caused, caused)
    assert run["found"] == {"called": last + 1, "name": last, "label": last, "class": last + 1, "effect": last}
    assert run["strongest"] == {name: [values[one] for one in run["strongest"]["id"]] for name, values in value.items()}


def test_the_effect_is_that_of_the_strongest_neuron_in_the_model_that_follows_it_most():
    causes = pd.DataFrame(
        [(0, 4, 0.1, 0.5), (0, 4, 0.3, 0.2), (1, 9, 0.9, 0.001), (2, 7, -0.2, 1.0), (2, 7, np.nan, np.nan)],
        columns=["cluster", "rosetta", "causal_effect", "causal_q"],
    )
    causes.loc[2, "cluster"] = 0  # a weaker neuron with a larger effect does not count
    found = effects(causes)
    assert found.to_dict("index") == {0: {"effect": 0.3, "effect_q": 0.2}, 2: {"effect": -0.2, "effect_q": 1.0}}
    assert effects(None) is None


def test_rows_of_a_concept(planted):
    _, rosetta, folder, run = planted
    found = read(folder, "concept/0")["found"]
    assert found["names"] == [[WORDS[rank], 5.0 - rank, 2.5, rank < 3] for rank in (1, 2, 3)]
    assert found["labels"] == [["label 0 1", 0.03, False], ["label 0 2", 0.015, False]]
    assert found["classes"] == [["class 1", 7, 0.9, None, None], ["class 2", 7, 0.8, None, None]]
    own = rosetta[(rosetta["cluster"] == 0) & rosetta["pearson"].notna()]
    assert [row[:3] for row in found["causes"]] == sorted(
        [one.rosetta, MODELS.index(one.model), one.unit] for one in own.itertuples()
    )
    assert [row[2] for row in found["silenced"]] == [0, 1, -1], "the output as a whole first"
    last = read(folder, f"concept/{run['concepts'] - 1}")["found"]
    assert (last["causes"], last["silenced"]) == ([], []), "measured of others"


def test_every_table_is_listed(planted):
    _, _, folder, run = planted
    for table in (LABELS, MASKS, CAUSES, SILENCED, CLASSES_OF_CONCEPTS):
        assert run["about"][table.name] == table.about
        assert len(read(folder, f"table/{table.name}")) == len(table.columns)
    assert list(run["about"]) == run["tables"]
    assert set(run["added"]) == {one.path() for one in (LABELS, MASKS, CAUSES, SILENCED)}


def test_names_are_plotted_by_layer(planted):
    _, _, folder, run = planted
    plots = {plot["title"]: plot for plot in read(folder, "plots")}
    drawn = plots["What they are called, by words"]
    assert f"{run['concepts'] - 1} of {run['concepts']} have a word above chance" in drawn["caption"]
    assert {"coarse", "fine"} <= set("".join(ElementTree.fromstring(drawn["svg"]).itertext()).split())
    assert "What they are called, by masks" in plots


def test_a_run_without_any(made):
    _, _, folder, run = made
    assert {name: set(read(folder, "concepts")[name]) for name in COLUMNS} == {name: {None} for name in COLUMNS}
    assert set(read(folder, "concept/0")["found"].values()) == {None}
    assert (run["outdated"], run["added"], sum(run["found"].values())) == ([], {}, 0)


def test_what_is_about_an_earlier_dictionary_is_not_shown(planted, tmp_path):
    root = Root(str(tmp_path / "run"))
    shutil.copytree(planted[0].local, root.local)
    rosetta = tables.read(root, ROSETTA.path())
    # Judged otherwise, concepts keep their names, and units what they cause.
    frame = rosetta.assign(trusted=~rosetta["trusted"])
    tables.write(root, ROSETTA.path(), frame, fingerprint("another"))
    assert after_mining.outdated(root) == ()
    found = Findings.of(opened(root))
    assert all(one is not None for one in (found.names, found.labels, found.causes, found.silenced))
    # With another concept, names go, as they depend on all; what units cause stays where these units do.
    last = rosetta["cluster"] == rosetta["cluster"].max()
    frame = rosetta.assign(cluster=rosetta["cluster"] + last)
    tables.write(root, ROSETTA.path(), frame, fingerprint("a second"))
    assert after_mining.outdated(root) == (LABELS, MASKS)
    frame = rosetta.assign(cluster=rosetta["cluster"].to_numpy()[::-1])
    tables.write(root, ROSETTA.path(), frame, fingerprint("a third"))
    assert after_mining.outdated(root) == (LABELS, MASKS, CAUSES, SILENCED)
    run = opened(root)
    assert not {one.name for one in run.shown_tables} & {"labels", "masks", "causes", "silenced"}
    assert Findings.of(run).columns(pd.Series([0])) == {
        **{name: [None] for name in COLUMNS},
        "class": ["class 1"],
        "auroc": [0.9],
    }
