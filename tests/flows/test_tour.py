"""The example notebook runs from its first cell to its last, and holds the outputs that a reader sees."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
TOUR = EXAMPLES / "tour.ipynb"


def test_the_tour_is_kept_executed_and_small():
    notebook = nbformat.read(TOUR, 4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert not any(output.output_type in ("error", "stream") for cell in cells for output in cell.outputs)
    assert '"../runs/faces"' in cells[0].source
    assert TOUR.stat().st_size < 1_500_000


@pytest.mark.slow
def test_the_tour_runs_on_a_fresh_run(run, monkeypatch):
    monkeypatch.setenv("ROSETTA_RUN", str(run[0]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(TOUR, 4)
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": EXAMPLES}})
    client.execute()
    said = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    assert said == []
