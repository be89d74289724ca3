"""What keeps the start of a run short: nothing is imported, and nothing collected, before it is needed."""

import gc
import subprocess
import sys

import pytest

from flows.command import running
from flows.command.running import collect_rarely, under_way

OF_SOME_MODELS = {"timm", "torchvision", "open_clip", "diffusers", "transformers"}
OF_LATER_STAGES = {"scipy", "matplotlib", "PIL.ImageDraw", "skimage"}
OF_NO_USUAL_RUN = {"torch._dynamo", "sympy", "triton", "xarray", "distributed", "s3fs", "sklearn"}


def imported(statement: str) -> set[str]:
    """Every module that a fresh process has after one statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        # Prefect's server starts behind this, and comes up beside all other imports.
        ("import flows.command.main", {"prefect", "torch", "pandas", "zarr", "dask", "pyarrow", "fastapi"}),
        ("import flows.mine, flows.command.console", OF_SOME_MODELS | OF_LATER_STAGES | OF_NO_USUAL_RUN),
    ],
)
def test_nothing_is_imported_before_it_is_needed(statement, absent):
    assert not absent & imported(statement)


def test_garbage_is_collected_rarely_until_a_flow_is_under_way():
    before, usual = gc.get_threshold(), running._USUAL_COLLECTION
    gc.set_threshold(*usual)
    try:
        collect_rarely()
        assert gc.get_threshold()[0] > 10 * usual[0]
        with under_way(None):
            assert gc.get_threshold() == usual
            assert gc.get_freeze_count() > 1000  # what was there before is not looked through again
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
