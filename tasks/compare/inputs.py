"""What a comparison is of: two runs of one anchor, and the models and layers that both have."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tomli_w

from rosetta.errors import UserError
from rosetta.mining.compare_settings import Comparing
from rosetta.units import Units
from storage.artifacts import tables
from storage.artifacts.catalogue import BUDDIES, COMPARISON_RECORD, LABELS, MASKS, NOTES, ROSETTA
from storage.artifacts.fingerprint import Fingerprint, fingerprint
from storage.filesystem.root import Root
from storage.run.members import RunMembers
from tasks.compare.differences import Difference, differences
from tasks.roots import require_distinct, root_of_its_own, told_apart


@dataclass(frozen=True)
class ComparePlan:
    """A comparison, with all that it needs."""

    root: Root | None
    """Where it goes; None where nothing is written."""
    runs: tuple[RunMembers, RunMembers]
    units: Mapping[str, Units]
    """By model, the anchor first, then those that both runs look for buddies in: the layers that both have."""
    settings: Comparing

    @property
    def anchor(self) -> str:
        """The model whose units name both dictionaries."""
        return self.runs[0].anchor

    @property
    def models(self) -> tuple[str, ...]:
        """Those that both runs look for buddies in."""
        return tuple(self.units)[1:]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the runs, as the comparison calls them: numbered where they have one name."""
        return told_apart([run.name for run in self.runs])

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """What makes the runs others."""
        return tuple(differences(*self.runs))

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Of the tables and the page."""
        return fingerprint(
            "comparison",
            runs=[
                {table.name: tables.attributes(run.root, table.path()).get("fingerprint")
                 for table in (ROSETTA, BUDDIES, LABELS, MASKS, NOTES)}
                for run in self.runs
            ],
            names=list(self.names),
            models={model: [layer.name for layer in units.layers] for model, units in self.units.items()},
            differences=[[one.what, one.first, one.second] for one in self.differences],
            **self.settings.model_dump(mode="json"),
        )  # fmt: skip

    def record(self) -> bytes:
        """`comparison.toml`."""
        about: dict[str, Any] = {
            **self.settings.model_dump(mode="json"),
            "fingerprint": self.fingerprint.digest,
            "runs": [
                {"name": name, "root": run.root.absolute.shown, "images": run.seen}
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            "models": [
                {"name": model, "anchor": model == self.anchor, "layers": [layer.name for layer in units.layers]}
                for model, units in self.units.items()
            ],
            "differences": [
                {"what": one.what, "first": one.first, "second": one.second} for one in self.differences
            ],
        }  # fmt: skip
        return tomli_w.dumps(about).encode()


def plan_inputs(first: str, second: str, out: str | None, settings: Comparing) -> ComparePlan:
    """Open the runs and find what they have in common; nothing is written.

    Raises
    ------
    UserError
        A run stands twice or is not finished, the anchors differ, the runs have no other model in common, or one name
        stands for models that are not alike.
    """
    require_distinct([first, second], "a run is always the same as itself; give two runs")
    place = None if out is None else root_of_its_own(out, COMPARISON_RECORD)
    a, b = RunMembers.open(first), RunMembers.open(second)
    if a.anchor != b.anchor:
        raise UserError(
            f"the units of {a.anchor} name the dictionary of {a.root.shown}, and those of {b.anchor} that of"
            f" {b.root.shown}; only dictionaries of one anchor can be compared"
        )
    targets = [model for model in a.targets if model in b.targets]
    if not targets:
        raise UserError(
            f"the runs have no discriminative model in common beside {a.anchor} ({a.root.shown} has"
            f" {', '.join(a.targets) or 'none'}; {b.root.shown} has {', '.join(b.targets) or 'none'}); compare runs of"
            " the same models"
        )
    return ComparePlan(place, (a, b), {model: _common(a, b, model) for model in (a.anchor, *targets)}, settings)


def _common(a: RunMembers, b: RunMembers, model: str) -> Units:
    """The layers that a model has in both runs, in the order of the first.

    Raises
    ------
    UserError
        There are none, or a layer has another number of channels: then one name stands for two models.
    """
    there = {layer.name: layer.channels for layer in b.stores[model].units.layers}
    both = tuple(layer for layer in a.stores[model].units.layers if layer.name in there)
    for layer in both:
        if layer.channels != there[layer.name]:
            raise UserError(
                f"layer {layer.name} of {model} has {layer.channels} channels in {a.root.shown} and"
                f" {there[layer.name]} in {b.root.shown}, so these are two models; give one of them another name"
            )
    if not both:
        raise UserError(
            f"{model} has no layer in common in {a.root.shown} and {b.root.shown}; mine both with the same layers, or"
            " give one of the two models another name"
        )
    return Units(both)
