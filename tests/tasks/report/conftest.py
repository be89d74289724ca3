"""The atlas of a run with known maps."""

import pytest
from atlas_files import finished_run, opened

from storage.filesystem.root import Root
from tasks.report.atlas.write import write_atlas


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The run's root, its maps, the atlas's folder and what the shell gets. To be read, not changed."""
    root = Root(str(tmp_path_factory.mktemp("run")))
    maps = finished_run(root)
    run = write_atlas(opened(root), "a digest")
    return root, maps, root.local / "report", run
