"""The recipe of a study: which families it takes, and what is told of others."""

import re

import pytest

from rosetta.errors import UserError
from rosetta.recipe import parse_recipe
from rosetta.study import parse_study

MODELS = """
name = "sizes"
root = "runs/sizes"
[images]
count = 8
[[models]]
name = "g"
model = "dcgan/digiface"
[[models]]
name = "small"
model = "timm/resnet18"
[[models]]
name = "large"
model = "timm/resnet34"
[[models]]
name = "untrained"
model = "timm/resnet18"
weights = "random:0..1"
control = true
"""


def study(table: str, models: str = MODELS, changes=()):
    return parse_study(f"{models}\n{table}", "sizes.toml", changes=changes)


def family(models: str = '["small", "large"]', more: str = "", name: str = "resnet") -> str:
    return f'[[study.family]]\nname = "{name}"\nmodels = {models}\n{more}\n'


def test_models_of_families_are_members_and_all_others_are_shared():
    found = study(family())
    assert [spec.name for spec in found.members] == ["small", "large"]
    assert [spec.name for spec in found.shared] == ["g", "untrained-0", "untrained-1"]
    assert found.families[0].size == "parameters"


def test_it_is_written_as_it_is_read():
    found = study(family(more="size = [1, 2.5]") + family('["large", "small"]', 'size = "units"', "turned"))
    assert parse_study(found.to_toml(), "again") == found


def test_a_model_may_be_in_several_families_and_a_change_reaches_one():
    both = family() + family(name="again")
    assert len(study(both).members) == 2
    changed = study(both, changes=["study.family.again.size=units", "images.count=4"])
    assert [one.size for one in changed.families] == ["parameters", "units"]
    assert changed.recipe.images.count == 4


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("", "recipe sizes.toml has no families; add a [[study.family]]"),
        ("study = 3", "study is no table"),
        ("[study]\nfamily = []", "study: family"),
        (family('["small"]'), "family 'resnet' has 1 of the two models that it takes"),
        (family('["small", "small"]'), "family 'resnet' names 'small' twice"),
        (family('["small", "lrge"]'), "no model is called 'lrge'; did you mean 'large'?"),
        (family('["small", "untrained"]'), "no model is called 'untrained'"),
        (family('["small", "untrained-0"]'), "'untrained-0' is a control"),
        (family(more='size = "weight"'), "'weight' is no size; write 'parameters', 'units', or a list"),
        (family(more="size = [1, 0]"), "0 is no size; sizes are numbers above 0"),
        (family(more="size = [1, -2.5]"), "-2.5 is no size"),
        (family(more="size = [1, inf]"), "inf is no size"),
        (family(more="size = [1, 2, 3]"), "2 models and 3 sizes; give one for each"),
        (family(more="models_ = 3"), "unknown key 'family.resnet.models_'; did you mean 'models'?"),
        (family() + family(), "two families are called 'resnet'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(table, told):
    models = MODELS if not table.startswith("study") else f"{table}\n{MODELS}"
    with pytest.raises(UserError, match=re.escape(told)) as error:
        study("" if table.startswith("study") else table, models)
    assert "\n" not in str(error.value)


def test_maps_that_are_not_kept_cannot_be_shared():
    with pytest.raises(UserError, match=r"images\.keep = 16, but the runs of a study share all maps"):
        study(family(), changes=["images.keep=16"])


def test_mine_says_what_takes_such_a_recipe():
    with pytest.raises(UserError, match="give it to rosetta study"):
        parse_recipe(f"{MODELS}\n{family()}", "sizes.toml")
