"""A matplotlib figure as SVG text that lives inside a page and wears the page's colours."""

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2s
from html import escape
from io import BytesIO, StringIO
from threading import Lock

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The colours of all plots. They read on white, in notebooks and in print; on a page each becomes a variable of its
# theme. Blue and orange are told apart by readers with any colour vision.
INK = "#161b24"
FAINT = "#d5d9e0"
REST = "#c3c9d3"
ACCENT = "#2c6e91"
CONTROL = "#b8692e"
QUIET = "#667080"

_THEME = {
    INK: "currentColor",
    FAINT: f"var(--plot-line, {FAINT})",
    REST: f"var(--plot-rest, {REST})",
    ACCENT: f"var(--plot-accent, {ACCENT})",
    CONTROL: f"var(--plot-control, {CONTROL})",
    QUIET: f"var(--plot-quiet, {QUIET})",
}

_STYLE = {
    "svg.hashsalt": "rosetta",
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    # A layer's name may hold a dollar sign; it is no formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": QUIET,
    "axes.labelsize": 8.0,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
}

# matplotlib keeps its settings in one global; two threads that draw must take turns.
_LOCK = Lock()

_FONT = re.compile(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]*")
_FRAME = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_IDENTIFIER = re.compile(r'( id="|"#|url\(#)(?=[A-Za-z_])')
_COLOUR = re.compile(rf"(?<=: )(?:{'|'.join(_THEME)})(?=[;\"])")


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's defaults and ours, whatever the user's own settings; restored afterwards."""
    with _LOCK, matplotlib.style.context(["default", _STYLE]):
        yield


def drawn(size: tuple[float, float], label: str, draw: Callable[[Axes], object]) -> str:
    """What is drawn on axes of so many inches, and around them, as :func:`text`."""
    with style():
        figure = Figure(figsize=size)
        draw(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        return text(figure, label, crop=True)


def files(size: tuple[float, float], draw: Callable[[Axes], object]) -> dict[str, bytes]:
    """What is drawn, on white, as files of their own.

    Parameters
    ----------
    size, draw
        As :func:`drawn` takes them.

    Returns
    -------
    dict
        By suffix, `svg` and `png`, the latter of 200 dots an inch. The same drawing gives the same bytes.
    """
    with style():
        figure = Figure(figsize=size, facecolor="white")
        draw(figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        found = {}
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.1)
            found[kind] = buffer.getvalue()
        return found


def text(figure: Figure, label: str, crop: bool = False) -> str:
    """Write a figure as an inline SVG element; call it within :func:`style`.

    Parameters
    ----------
    figure
        Drawn in the colours of this module.
    label
        What a reader who cannot see it is told.
    crop
        Fit the picture to what is drawn, outside the figure's frame too.

    Returns
    -------
    str
        ``<svg …>…</svg>``: transparent, text as text, no date, no addresses but the name spaces, and identifiers
        that no other plot of the page has. The same figure gives the same text.
    """
    buffer = StringIO()
    with warnings.catch_warnings():
        # Text stays text: the reader's fonts may have what the measuring one lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None},
            bbox_inches="tight" if crop else None, pad_inches=0.03,
        )  # fmt: skip
    whole = buffer.getvalue()
    # The prologue and the metadata are for files; within a page they are noise.
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", whole[whole.index("<svg") :], count=1, flags=re.DOTALL)
    body = _COLOUR.sub(lambda match: _THEME[match[0]], body)
    body = _FONT.sub(lambda match: f"font: {match[1]}{match[2]}px system-ui, sans-serif", body)
    unique = blake2s((body + label).encode("utf-8", "replace"), digest_size=4).hexdigest()
    body = _IDENTIFIER.sub(lambda match: f"{match[1]}p{unique}-", body)
    frame = _FRAME.search(body)
    assert frame is not None, "matplotlib writes a viewBox"
    width, height = float(frame[1]), float(frame[2])
    opening = (
        f'<svg class="plot" role="img" aria-label="{escape(label)}" style="--natural: {width * 1.42:.0f}px" '
        f'viewBox="0 0 {width:.6g} {height:.6g}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return opening + body[body.index(">") + 1 :].rstrip() + "\n"
