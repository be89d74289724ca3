"""The shell of the atlas gives back what it was given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosetta.view.atlas.page import render, told

TEXT = st.text() | st.sampled_from(["</script>", '<script type="application/json" id="run">', "<!--", "\u2028"])


def shell(**more):
    models = [{"name": "g", "kind": "generator"}]
    return {"name": "run", "guided": [], "models": models, "trust_page": None, **more}


@given(name=TEXT, guided=st.lists(st.fixed_dictionaries({"kind": TEXT, "name": TEXT, "address": TEXT})))
def test_what_was_told_is_read_back(name, guided):
    run = shell(name=name, guided=guided)
    assert told(render(run)) == run
    assert render(told(render(run))) == render(run)


@pytest.mark.parametrize(("kind", "links"), [("generator", 1), ("discriminative", 0)])
def test_a_run_with_a_generator_leads_to_its_searches(kind, links):
    page = render(shell(models=[{"name": "m", "kind": kind}]))
    assert page.partition('<script type="application/json"')[0].count('href="#/guided"') == links


@pytest.mark.parametrize("page", ["", "<html>", '<script type="application/json" id="run">{}</script>', "[]"])
def test_another_page_is_an_error(page):
    with pytest.raises(ValueError, match="holds no run"):
        told(page)
