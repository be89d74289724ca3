"""The planted run, once for all tests that only read it."""

import causal_runs
import pytest

from storage.filesystem.root import Root


@pytest.fixture(scope="session")
def causal(tmp_path_factory) -> Root:
    """A generator, a model without classes and a classifier. To be read, not changed."""
    return causal_runs.write(tmp_path_factory.mktemp("explained") / "run")
