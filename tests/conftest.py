"""Shared settings: deterministic property tests, and the tests' own helpers on the path."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a slip shows within seconds."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
