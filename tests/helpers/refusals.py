"""What the command says where something is wrong."""

import subprocess


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line on standard error that holds these words, nothing else, and exit 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert line.startswith("rosetta: ")
    assert "\n" not in line
    for word in words:
        assert word in line
