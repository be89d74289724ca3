"""Which runs a study has, and how large its models are."""

import pytest

from flows.plan.study import plan_study
from rosetta.errors import UserError
from rosetta.study import parse_study

PARAMETERS = {"small": 3 * 9 * 6 + 6 + 6 * 9 * 6 + 6, "large": 3 * 9 * 10 + 10 + 10 * 9 * 10 + 10}
"""Of two convolutions, by hand."""


def planned(families: str, models=("painter", "small", "large"), more: str = "", images: str = ""):
    tables = "".join(
        f'[[models]]\nname = "{name}"\nmodel = "python:tinyzoo:{name}"\nweights = "random:0"\n' for name in models
    )
    text = f'name = "s"\nroot = "runs/s/"\n[images]\n{images}\n{tables}\n{more}\n{families}'
    return plan_study(parse_study(text, "s.toml"))


def family(models='["small", "large"]', size='"parameters"'):
    return f'[[study.family]]\nname = "f"\nmodels = {models}\nsize = {size}\n'


def test_each_model_has_a_run_beside_what_is_shared():
    plan = planned(family(), more='[[models]]\nname = "pixels"\nmodel = "pixels/64"\ncontrol = true')
    assert [(one.anchor, one.model, one.recipe.root) for one in plan.members] == [
        ("painter", "small", "runs/s/runs/painter/small"),
        ("painter", "large", "runs/s/runs/painter/large"),
    ]
    assert [[spec.name for spec in one.recipe.models] for one in plan.members] == [
        ["painter", "pixels", "small"],
        ["painter", "pixels", "large"],
    ]
    assert {one.recipe.images.from_ for one in plan.members} == {"runs/s/runs/painter/_shared"}
    assert plan.sizes == {"f": PARAMETERS}


def test_sizes_are_units_or_as_given():
    assert planned(family(size='"units"')).sizes == {"f": {"small": 12, "large": 20}}
    assert planned(family(size="[2, 7.5]")).sizes == {"f": {"small": 2.0, "large": 7.5}}


def test_every_generator_has_runs_and_a_zoo_of_its_own():
    plan = planned(family(), models=("painter", "plain", "small", "large"))
    assert [one.path for one in plan.members] == [
        "runs/painter/small", "runs/painter/large", "runs/plain/small", "runs/plain/large",
    ]  # fmt: skip
    assert {one.recipe.images.from_ for one in plan.members} == {
        f"runs/s/runs/{name}/_shared" for name in ("painter", "plain")
    }
    assert all(len(one.recipe.models) == 2 for one in plan.members)


def test_without_a_generator_the_first_shared_model_is_the_anchor():
    more = '[[models]]\nname = "third"\nmodel = "python:tinyzoo:small"\nweights = "random:1"'
    plan = planned(family(), models=("small", "large"), more=more, images='source = "photos"')
    assert [[spec.name for spec in one.recipe.models] for one in plan.members] == [
        ["third", "small"],
        ["third", "large"],
    ]


@pytest.mark.parametrize(
    ("families", "models", "more", "told"),
    [
        (family('["small", "painter"]'), ("painter", "small"), "", "'painter' is a generator"),
        (family(), ("small", "large"), "", "a study needs a model that its runs share"),
        (family(size="[2, 2]"), ("painter", "small", "large"), "", "all of its models have the size 2"),
        (
            family('["small", "pixels"]'),
            ("painter", "small"),
            '[[models]]\nname = "pixels"\nmodel = "pixels/64"',
            "'pixels' has no parameters; give size a number for each model",
        ),
    ],
)
def test_what_cannot_grow_is_refused(families, models, more, told):
    with pytest.raises(UserError, match=told):
        planned(families, models, more)
