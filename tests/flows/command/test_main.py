"""The command as a whole: its version, its options, and those that were renamed."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from flows.command.main import app, main
from rosetta.errors import UserError
from rosetta.guidance.settings import Editing, Inversion
from rosetta.strict import validated


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """Each would start a server for a run that never comes, and leave it to the end of this process."""
    monkeypatch.setattr("flows.reporting.embedded_server.EmbeddedServer.unless_configured", lambda: None)


def refused(capsys, *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


def test_the_version_is_that_of_the_project(capsys):
    main(["--version"])
    assert capsys.readouterr().out.strip() == version("rosetta-mine")


def test_help_of_all_commands_waits_for_no_settings(capsys):
    code = "import sys; from flows.command.main import main; main(['--help']); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
    for command in ("mine", "trust", "zoo", "invert", "edit", "report", "export", "check", "status", "prune", "bench"):
        assert f"│ {command} " in shown


@pytest.mark.parametrize(("command", "settings"), [("invert", Inversion), ("edit", Editing)])
def test_every_setting_is_an_option_with_the_same_help(command, settings):
    options = {name: argument for argument in app[command].assemble_argument_collection() for name in argument.names}
    for field, about in settings.model_fields.items():
        if field not in ("images", "edits"):
            option = options[f"--{about.serialization_alias or field.replace('_', '-')}"]
            assert option.parameter.help == about.description
            assert option.field_info.default == about.default


def test_an_option_under_its_old_name(tmp_path, capsys):
    for words in (["--clusters", "1"], ["--clusters=1", "--clusters=2"]):
        told, reason = refused(capsys, "invert", str(tmp_path), "0", *words)
        assert told == "rosetta: --clusters is now --concepts; the old name will be removed"
        assert "holds no run" in reason
    (reason,) = refused(capsys, "invert", str(tmp_path), "0", "--concepts", "1")
    assert "holds no run" in reason


def test_a_setting_under_its_old_name_is_the_same_setting():
    old, new = (validated(Inversion, {"images": ["7"], name: [3, 4]}, "invert") for name in ("clusters", "concepts"))
    assert old == new
    assert new.model_dump()["clusters"] == (3, 4), "fingerprints of earlier inversions hold this name"
    assert new.model_dump(by_alias=True)["concepts"] == (3, 4)
    with pytest.raises(UserError, match="invert: unknown key 'concept'; did you mean 'concepts'"):
        validated(Inversion, {"concept": [3]}, "invert")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--class", "x"], "rosetta: invert: class: input should be a valid integer"),
        (["--concepts", "x"], "rosetta: invert: concepts.0: input should be a valid integer"),
        (["--alpha", "-1"], "rosetta: invert: alpha: input should be greater than or equal to 0 (it is '-1')"),
        (["--table", "--rec", "none"], "rosetta: invert --table: unknown key 'rec'"),
        (["--images", "7"], "rosetta: Unknown option: --images."),
    ],
)
def test_a_value_that_a_setting_refuses(capsys, words, expected):
    (reason,) = refused(capsys, "invert", "nowhere", "0", *words)
    assert reason.startswith(expected)


def test_benchmarks_are_found_in_a_clone(monkeypatch):
    called = []
    monkeypatch.setattr("subprocess.call", lambda words: called.extend(words) or 0)
    with pytest.raises(SystemExit) as left:
        main(["bench"])
    assert left.value.code == 0
    assert Path(called[1]).is_dir()
