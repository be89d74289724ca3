"""The command `rosetta`, as a user runs it."""

import json
import subprocess
import sys


class Command:
    """The command `rosetta` in a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def start(self, *args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.command", *map(str, args)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
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
