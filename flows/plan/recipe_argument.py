"""The parameters of a flow that mines, and how they become a recipe.

They are those of `rosetta mine`: a recipe or the path of one, another root, changes. A deployment names a recipe file,
and its form has fields for what a user changes. Without a file, a recipe can be filled in or sent through the API.

Prefect takes the descriptions in its forms from docstrings in Google's style. So the flows use that style, unlike all
other modules.
"""

from collections.abc import Sequence
from pathlib import Path

from rosetta.recipe import Recipe, parse_recipe, read_recipe


def recipe_of(recipe: Recipe | Path, root: str | None = None, changes: Sequence[str] = ()) -> Recipe:
    """The recipe with its changes.

    Raises
    ------
    UserError
        The file does not exist, or is not a valid recipe.
    """
    if isinstance(recipe, Recipe):
        return parse_recipe(recipe.to_toml(), recipe.name, root, changes) if root or changes else recipe
    return read_recipe(recipe, root, changes)
