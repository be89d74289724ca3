"""Which faults of a stage are worth another try."""

import asyncio
import errno

import pytest
from prefect.states import exception_to_failed_state

from rosetta.errors import UserError
from tasks.stage.stage import worth_a_retry


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(errno.EIO, "the object store had a bad moment"), True),
        (ConnectionResetError("reset by peer"), True),
        (TimeoutError("no answer"), True),
        (OSError(errno.ENOSPC, "the disk is full"), False),
        (FileNotFoundError("nothing there"), False),
        (PermissionError("not allowed"), False),
        (UserError("the recipe is wrong"), False),
        (ValueError("a fault of ours"), False),
    ],
)
def test_storage_and_networks_are_tried_again_and_what_the_user_must_fix_is_not(error, again):
    state = asyncio.run(exception_to_failed_state(error))
    assert worth_a_retry(None, None, state) is again
