"""A model of a run: whatever is done to it, in whatever order, its tables are those of a fresh run.

The model knows what the recipe asks for and whether the run is complete or damaged; Hypothesis chooses the steps.
"""

import os
import time
from pathlib import Path

import pytest
from command import Command
from damage import flip
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from strategies import SEEDS
from tinyzoo import recipe_text

from storage.filesystem.root import Root
from storage.upkeep.check import check_root

pytestmark = pytest.mark.slow

OTHERS = ("ada", "bob", "cyd")
TABLES = ("units", "buddies", "trust", "rosetta", "clusters")
COUNTS = (12, 20)


def tables_of(root: Path) -> dict[str, bytes]:
    return {table: (root / f"tables/{table}.parquet").read_bytes() for table in TABLES}


def count_files(root: Path) -> int:
    # os.walk takes it in its stride that folders come and go.
    return sum(len(names) for _, _, names in os.walk(root))


class FreshRuns:
    """Tables and size of a run that nothing happened to, by recipe; each is mined once."""

    def __init__(self, command: Command, folder: Path) -> None:
        self.command, self.folder = command, folder
        self._kept: dict[tuple[tuple[str, ...], int], tuple[dict[str, bytes], int]] = {}

    def __call__(self, models: tuple[str, ...], count: int) -> tuple[dict[str, bytes], int]:
        if (models, count) not in self._kept:
            root = self.folder / f"{'-'.join(models)}-{count}"
            recipe = root.with_suffix(".toml")
            recipe.write_text(recipe_text(root, models, count=count))
            self.command.json("mine", recipe)
            self._kept[models, count] = tables_of(root), count_files(root)
        return self._kept[models, count]


class RunModel(RuleBasedStateMachine):
    """What a user may do to a run, and what may befall it."""

    def __init__(self, command: Command, folder: Path, fresh: FreshRuns) -> None:
        super().__init__()
        self.command, self.folder, self.fresh = command, folder, fresh
        self.root, self.zoo, self.recipe = folder / "root", folder / "zoo", folder / "run.toml"
        self.others, self.count, self.shared = {"ada", "bob"}, COUNTS[1], False
        self.complete = False
        """Whether the run is what the recipe asks for."""
        self.damaged = False
        self.mined_count: int | None = None
        """Of the images that lie under the root of the run."""

    @property
    def models(self) -> tuple[str, ...]:
        return ("painter", *(name for name in OTHERS if name in self.others))

    def write(self) -> Path:
        images = f'from = "{self.zoo}"' if self.shared else ""
        self.recipe.write_text(recipe_text(self.root, self.models, images, self.count))
        return self.recipe

    def mine(self, *options: str) -> None:
        self.command.json("mine", self.write(), *options)
        self.complete, self.damaged, self.mined_count = True, False, self.count
        tables, _ = self.fresh(self.models, self.count)
        found = tables_of(self.root)
        assert [table for table in TABLES if found[table] != tables[table]] == []

    @initialize()
    def first(self) -> None:
        self.mine()

    @precondition(lambda self: not self.damaged)
    @rule()
    def go_on(self) -> None:
        was_complete = self.complete
        self.mine()
        if was_complete:
            assert self.command("mine", self.recipe).stdout.startswith("Nothing to do")

    @precondition(lambda self: len(self.others) < len(OTHERS))
    @rule(data=st.data())
    def add_a_model(self, data: st.DataObject) -> None:
        self.others.add(data.draw(st.sampled_from([name for name in OTHERS if name not in self.others])))
        self.complete = False

    @precondition(lambda self: len(self.others) > 1)
    @rule(data=st.data())
    def remove_a_model(self, data: st.DataObject) -> None:
        self.others.remove(data.draw(st.sampled_from([name for name in OTHERS if name in self.others])))
        self.complete = False

    @precondition(lambda self: not self.damaged)
    @rule(share=st.floats(0, 1), moment=st.floats(0, 0.02))
    def kill(self, share: float, moment: float) -> None:
        _, whole = self.fresh(self.models, self.count)
        before = count_files(self.folder)
        process = self.command.start("mine", self.write())
        missing = max(1, whole - before)
        while process.poll() is None:
            if count_files(self.folder) - before >= share * missing:
                time.sleep(moment)
                process.kill()
                break
            time.sleep(0.002)
        process.communicate()
        assert process.returncode in (0, -9)
        self.complete = process.returncode == 0

    @precondition(lambda self: self.complete)
    @rule(dice=SEEDS, elsewhere=st.booleans())
    def flip_a_bit(self, dice: int, elsewhere: bool) -> None:
        root = self.zoo if elsewhere and self.shared else self.root
        (file,) = flip(root, 1, dice)
        named = [finding.shown for finding in check_root(Root(str(self.root)))]
        assert named, file
        self.damaged, self.complete = True, False

    @rule()
    def check(self) -> None:
        found = self.command("check", self.root)
        if self.damaged:
            assert found.returncode == 2
        elif self.complete:
            assert found.returncode == 0, found.stdout

    @rule()
    def mend(self) -> None:
        self.mine("--mend")
        assert check_root(Root(str(self.root))) == []

    @precondition(lambda self: not self.damaged)
    @rule()
    def share_or_stop_sharing(self) -> None:
        self.shared = not self.shared
        self.complete = False

    @precondition(lambda self: not self.damaged)
    @rule()
    def prune(self) -> None:
        assert self.command("prune", self.root, "--yes").returncode == 0
        if self.complete:
            self.mine()

    @precondition(lambda self: not self.damaged and not self.shared)
    @rule()
    def replace(self) -> None:
        self.count = COUNTS[self.count == COUNTS[0]]
        refused = self.command("mine", self.write())
        assert refused.returncode == 2, "other images are not taken for those that are there"
        self.mine("--replace")


def run_model(command: Command, folder: Path, examples: int, steps: int, start: int = 0) -> None:
    fresh, number = FreshRuns(command, folder), iter(range(1 << 30))

    def begin() -> RunModel:
        own = folder / f"example{next(number)}"
        own.mkdir()
        return RunModel(command, own, fresh)

    rare = settings(
        max_examples=examples,
        stateful_step_count=steps,
        phases=[Phase.generate],  # a step takes a second: the steps as found are printed and not made fewer
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=False,
    )
    run_state_machine_as_test(seed(start)(begin), settings=rare)


@pytest.mark.timeout(900)
def test_the_tables_are_those_of_a_fresh_run(tiny, tmp_path):
    # The first two examples that Hypothesis makes are trivial; the third of these has nine of the ten kinds of step.
    run_model(tiny, tmp_path, examples=3, steps=12, start=145)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_tables_are_those_of_a_fresh_run_after_many_steps(tiny, tmp_path):
    run_model(tiny, tmp_path, examples=30, steps=30)
