"""Commands whose output is closed before they end, as by `rosetta … | head`."""

import os
import subprocess
import sys

import pytest

COMMAND = "from flows.command.main import main; main()"
QUIET = (141, b"")
"""Exit code and standard error."""
WITHIN = "import sys; from flows.command.closed_output import ends_quietly\nwith ends_quietly():\n    "


def piped_to_nobody(*arguments: str, code: str = COMMAND, errors_too: bool = False) -> tuple[int, bytes]:
    """Exit code and standard error of a command whose output, or output and errors, nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    errors = writing if errors_too else subprocess.PIPE
    ended = subprocess.run([sys.executable, "-c", code, *arguments], stdout=writing, stderr=errors, check=False)
    os.close(writing)
    return ended.returncode, ended.stderr or b""


@pytest.mark.parametrize("arguments", [["zoo"], ["zoo", "dcgan/digiface", "--json"]])
def test_a_command_ends_quietly(arguments):
    assert piped_to_nobody(*arguments) == QUIET


def test_errors_that_nobody_reads():
    assert piped_to_nobody("zoo", "no-such-model", errors_too=True) == QUIET


@pytest.mark.parametrize("body", ["print(1); sys.exit(2)", "print('long\\n' * 100_000)", "print(1, flush=True)"])
def test_however_it_comes_to_be_written(body):
    assert piped_to_nobody(code=WITHIN + body) == QUIET


def test_a_broken_pipe_that_is_not_the_output_is_an_error():
    code = WITHIN + "raise BrokenPipeError('a socket')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr.splitlines()[-1]) == (1, b"BrokenPipeError: a socket")


def test_exit_codes_stay_where_output_is_read():
    ended = subprocess.run([sys.executable, "-c", WITHIN + "print(1); sys.exit(2)"], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, b"1\n", b"")
