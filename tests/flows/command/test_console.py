"""What is shown on standard error."""

import logging

from flows.command.console import narrated, unheard
from rosetta.zoo.notes import say


def test_what_checks_say_to_nobody_is_said_when_someone_listens(capsys):
    root = logging.StreamHandler()  # libraries add one, which shows nothing below a warning
    logging.getLogger().addHandler(root)
    try:
        lines = {"weights are taken from 'model.'": logging.INFO, "mean may be another": logging.WARNING}
        for line, level in lines.items():
            with unheard():
                say(line, level)
            assert line not in capsys.readouterr().err
            with narrated():
                say(line, level)
                say(line, level)
            assert capsys.readouterr().err.count(line) == 1
    finally:
        logging.getLogger().removeHandler(root)
