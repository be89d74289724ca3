"""The planted run, once for all tests that only read it."""

import causal_runs
import pytest

from storage.filesystem.root import Root


@pytest.fixture(scope="session")
def planted(tmp_path_factory) -> Root:
    """A generator, and two models that look. To be read, not changed."""
    return causal_runs.write(tmp_path_factory.mktemp("causal") / "run")
