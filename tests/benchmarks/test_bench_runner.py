"""Each part of the benchmark stands by itself: what befalls one is a line, and the others are measured."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODULES = {
    "stores": "activation_stores",
    "dump": "dump_rate",
    "workers": "two_workers",
    "sparse": "sparse_features",
    "forecast": "edit_forecast",
    "cuda": "on_cuda",
}
PARTS = (
    "faces",
    "stores",
    "dump",
    "workers",
    "streamed",
    "trust",
    "guidance",
    "starts",
    "forecast",
    "table1",
    "photographs",
    "page",
    "correlation",
    "sparse",
    "precision",
    "join",
    "cuda",
)
GOOD = """
from figures import figure, report
report("heading of {name}", {{"{name}_seconds": figure(1.5, "s")}})
"""
MULTILINE = 'raise OSError("cannot start\\n  |  details\\nover several lines")'
BAD = {
    "a fault": ("1 / 0", 1, "ZeroDivisionError: division by zero"),
    "a fault in words over several lines": (MULTILINE, 1, "OSError: cannot start"),
    "a fault while another is handled": (
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('a') from ValueError('b')",
        1,
        "KeyError: 'a'",
    ),
    "a module that is not installed": ("import no_such_module", 1, "ModuleNotFoundError: No module named 'no_such_mod"),
    "no Python": ("this is no Python", 1, "SyntaxError: invalid syntax"),
    "a kill": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 1, "it was ended by SIGKILL"),
    "a silent end": ("raise SystemExit(7)", 1, "it ended with status 7"),
    "a fault after figures": (GOOD.format(name="early") + "raise ValueError('late')", 1, "ValueError: late"),
    "something that can be installed": (
        "import sys\nfrom figures import require\nprint('a warning', file=sys.stderr)\nrequire(None, 'no Chromium')",
        2,
        "no Chromium",
    ),
}


class Bench:
    """A copy of the benchmark with other parts."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "tests" / "benchmarks"
        self.folder.mkdir(parents=True)
        self.out = root / "runs" / "bench"
        for name in ("__main__", "figures"):
            shutil.copy(HERE / f"{name}.py", self.folder)
        for name in PARTS:
            self.part(name, GOOD.format(name=name))

    def part(self, name: str, code: str) -> None:
        (self.folder / f"{MODULES.get(name, name)}.py").write_text(code)

    def __call__(self, *wanted: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command, settings = [sys.executable, str(self.folder), *wanted], {**os.environ, **environment}
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)

    @property
    def json(self) -> dict:
        return json.loads((self.out / "bench.json").read_text())


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def test_parts_in_turn(bench):
    done = bench()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if "heading" in line] == [f"heading of {name}" for name in PARTS]
    assert bench.json == {f"{name}_seconds": {"value": 1.5, "unit": "s", "aim": None, "met": None} for name in PARTS}


@pytest.mark.parametrize("case", BAD)
def test_what_befalls_one_part_leaves_the_others_alone(bench, case):
    code, status, reason = BAD[case]
    bench.part("guidance", code)
    done = bench()
    assert done.returncode == status
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: guidance is not measured: {reason}")
    assert [f"{name}_seconds" for name in PARTS if name != "guidance"] == [
        name for name in bench.json if name not in ("early_seconds", "failed")
    ]
    (told,) = bench.json["failed"].items()
    assert told[0] == "guidance"
    assert told[1].startswith(reason)
    # Measured again it is no longer told.
    bench.part("guidance", GOOD.format(name="guidance"))
    assert bench("guidance").returncode == 0
    assert "failed" not in bench.json
    assert {"guidance_seconds", "cuda_seconds"} <= set(bench.json)


def test_a_fault_counts_more_than_what_can_be_installed(bench):
    bench.part("faces", BAD["something that can be installed"][0])
    bench.part("cuda", BAD["a kill"][0])
    assert bench().returncode == 1
    assert list(bench.json["failed"]) == ["faces", "cuda"]
    assert bench("faces").returncode == 2
    assert list(bench.json["failed"]) == ["cuda", "faces"]
    bench.part("faces", GOOD.format(name="faces"))
    bench.part("cuda", GOOD.format(name="cuda"))
    assert bench().returncode == 0
    assert "failed" not in bench.json, "a whole run begins anew"


def test_an_unknown_part_is_a_line(bench):
    done = bench("faces", "pages")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"bench: there is no part 'pages'; there are {', '.join(PARTS)}"]
    assert not bench.out.exists()


def test_no_part_hides_a_package():
    """A part's folder comes first on its path, so a file named like a package would be imported in its stead."""
    hidden = {file.stem for file in HERE.glob("*.py")} & (set(sys.stdlib_module_names) | set(packages_distributions()))
    assert not hidden
    assert "cuda" not in {file.stem for file in HERE.glob("*.py")}, (
        "NVIDIA's package, which is not installed everywhere"
    )


@pytest.mark.slow
def test_without_chromium_the_page_is_not_measured(bench):
    """The real part, where no program is found; it says so before it has mined anything."""
    for file in HERE.glob("*.py"):
        if file.stem in ("page", "large_run", "synthetic"):
            shutil.copy(file, bench.folder)
    bench.part("faces", "folder_bytes = mine = None\n")
    done = bench("page", PATH="", PYTHONPATH=str(HERE.parents[1]))
    assert done.returncode == 2
    assert done.stderr.startswith("bench: page is not measured: there is no Chromium")
    assert set(bench.json) == {"failed"}
