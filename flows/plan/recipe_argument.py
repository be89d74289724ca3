"""What a flow that mines takes, and how it becomes a recipe.

It takes what `rosetta mine` takes: a recipe or the path of one, another root, changes. So a deployment names a recipe
file, which stays the one truth on that run, and its form has fields for what a user changes; where there is no file, a
whole recipe can be filled in, or sent through the API.

Prefect takes what it shows beside a form's fields from the flow's docstring where that is in Google's style: those
of the flows are, unlike all others.
"""

from collections.abc import Sequence
from pathlib import Path

from rosetta.recipe import Recipe, parse_recipe, read_recipe


def recipe_of(recipe: Recipe | Path, root: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """The recipe itself, or the one at a path, with changes.

    Raises
    ------
    UserError
        No such file, or not a valid recipe.
    """
    if isinstance(recipe, Recipe):
        return parse_recipe(recipe.to_toml(), recipe.name, root, changes) if root or changes else recipe
    return read_recipe(recipe, root, changes)
