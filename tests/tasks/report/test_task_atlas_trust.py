"""What is trusted is the same in a run's tables and all over its page."""

import shutil

from atlas_files import RECIPE, read

from storage.artifacts import catalogue, tables
from storage.artifacts.fingerprint import fingerprint
from storage.filesystem.root import Root
from tasks.report.atlas.run import AtlasRun
from tasks.report.atlas.write import write_atlas


def test_a_neuron_is_trusted_or_not_and_a_concept_counts_its_neurons(made):
    """By hand out of the table of matches; the same in the tables of neurons and concepts and all over the page."""
    root, _, folder, run = made
    trust, rosetta, clusters = (
        tables.read(root, f"tables/{name}.parquet") for name in ("trust", "rosetta", "clusters")
    )
    trusted_pairs = {
        (row.unit_a, row.model_b, row.unit_b) for row in trust[trust["model_a"] == "g"].itertuples() if row.trusted
    }
    trusted: dict[int, set[int]] = {}
    for neuron, rows in rosetta.groupby("rosetta"):
        matches = rows[rows["model"] != "g"]
        whole = all((row.anchor_unit, row.model, row.unit) in trusted_pairs for row in matches.itertuples())
        assert rows["trusted"].tolist() == [whole] * len(rows)
        trusted.setdefault(int(rows["cluster"].iloc[0]), set()).update([neuron] * whole)
    counts = [len(trusted[concept]) for concept in range(run["concepts"])]
    assert clusters["trusted_neurons"].tolist() == counts
    assert "trusted" not in clusters
    concepts = read(folder, "concepts")
    assert concepts["trusted"] == counts
    assert (run["trusted"], run["trusted_concepts"]) == (sum(counts), sum(count > 0 for count in counts))
    for concept in range(run["concepts"]):
        value = read(folder, f"concept/{concept}")
        assert {neuron["rosetta"] for neuron in value["neurons"] if neuron["trusted"]} == trusted[concept]
        settings, own = RECIPE.trust, rosetta[(rosetta["cluster"] == concept) & (rosetta["model"] == "g")]
        assert concepts["chance"][concept] == sum(own["q_value"] <= settings.q)
        assert concepts["replicates"][concept] == sum(own["replicates"])
        assert concepts["lift"][concept] == sum(own["lift"] > 0)
        assert concepts["partial"][concept] == sum(own["pearson_partial"] > settings.partial)
        for neuron in value["neurons"]:
            values = own.loc[own["rosetta"] == neuron["rosetta"]].iloc[0]
            fails = {
                "chance": values["q_value"] > settings.q,
                "halves": not values["replicates"],
                "control": values["lift"] <= 0,
                "pixels": values["pearson_partial"] <= settings.partial,
            }
            assert [word for word, _ in neuron["failures"]] == [word for word, failed in fails.items() if failed]
    assert 0 < run["trusted"] < run["rosetta"]


def test_tables_of_older_versions_make_the_same_page(made, tmp_path):
    """There the rows of a neuron said `trusted` of their own match, and a concept had what its weakest neuron had."""
    root, _, folder, _ = made
    old, here = Root(str(tmp_path / "old")), tmp_path / "report"
    shutil.copytree(root.local, old.local)
    rosetta, clusters = (tables.read(root, f"tables/{name}.parquet") for name in ("rosetta", "clusters"))
    older = rosetta.assign(trusted=rosetta["trusted"] ^ (rosetta["model"] != "g"))
    tables.write(old, catalogue.ROSETTA.path(), older, fingerprint("old"))
    weakest = clusters.drop(columns="trusted_neurons").assign(trusted=False)
    weakest.to_parquet(old.local / catalogue.CLUSTERS.path())
    write_atlas(AtlasRun.of(old, RECIPE), "a digest", Root(str(here)))
    for path in sorted({*folder.rglob("*.js")} - {*(folder / "data" / "table").iterdir()}):
        assert (here / path.relative_to(folder)).read_bytes() == path.read_bytes()
