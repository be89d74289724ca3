"""How a file that cannot be read as tensors is refused, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from rosetta.errors import UserError
from rosetta.zoo.weights.pickle_as_data import ExcessError, RefusedError

_LONGEST = 100
_TENSORFLOW = "they are a TensorFlow network; convert them with legacy.py of NVIDIA's stylegan2-ada-pytorch"


@contextmanager
def read_or_refused(text: str, size: int, expected: str, remedy: str) -> Iterator[None]:
    """Read a pickle inside; whatever goes wrong with it becomes an error for the user.

    Parameters
    ----------
    text, size
        What errors call the file, and its bytes.
    expected
        What it should have been.
    remedy
        How to get the tensors out of a file that carries code.

    Raises
    ------
    UserError
        The file names code, asks for too much, or is damaged.
    """
    try:
        yield
    except RefusedError as refused:
        name = str(refused)
        what = f"asks for {printable(name)}" if " " in name else f"carries code ({printable(name)})"
        why = f"the file {what}, and weights are read as tensors only; {remedy}"
        why = _TENSORFLOW if name.startswith("dnnlib.tflib.") else why
        raise UserError(f"weights {text!r} are refused: {why}") from None
    except ExcessError:
        raise UserError(
            f"weights {text!r} are refused: they would take far more memory or work than a file of {size} bytes is "
            "worth; download the file again, or save the state dict alone"
        ) from None
    except Exception:  # a damaged file can be wrong in any way
        raise UserError(
            f"weights {text!r} are damaged, truncated or {expected}; copy, download or save the file again"
        ) from None


def printable(name: str) -> str:
    """A name out of a file, fit for a terminal."""
    return name if name.isprintable() and len(name) <= _LONGEST else ascii(name[:_LONGEST])
