"""The command `rosetta`, as a user runs it."""

import json
import subprocess
import sys

from preloaded import Forked


class Command:
    """The command `rosetta` in a process of its own."""

    def __init__(self, environment: dict[str, str], *, fresh: bool = False, plots: bool = False) -> None:
        self.environment = environment
        self.fresh = fresh
        """Whether a process imports all by itself, like the user's, and is not forked from one that has (faster)."""
        self.plots = plots
        """Whether the plots of pages are drawn where it is forked: half of the time that a small run takes."""

    def start(self, *args: object) -> subprocess.Popen[str]:
        words = list(map(str, args))
        if not self.fresh:
            return Forked(words, self.environment, self.plots)
        command = [sys.executable, "-m", "flows.command.main", *words]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *args: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*args)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def json(self, *args: object) -> dict:
        """What it prints with --json; fails the test where it fails."""
        done = self(*args, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on standard error that holds these words, nothing else, and exit 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert line.startswith("rosetta: ")
    assert "\n" not in line
    for word in words:
        assert word in line
