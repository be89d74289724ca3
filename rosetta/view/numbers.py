"""Numbers as the pages write them."""

import math

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_UP = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def correlation(value: float | None) -> str:
    """Two decimals with a true minus; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "–"
    # Rounded first, so that a hair below zero is not written as minus zero.
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def count(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}"


def knob(value: float) -> str:
    """As short as it can be written, with a true minus: ``0.05``, ``0.1``."""
    return f"{value:g}".replace("-", "−")


def counted(value: int, one: str, many: str) -> str:
    """``1 concept``, ``2 concepts``."""
    return f"{count(value)} {one if value == 1 else many}"


def ten_to(exponent: int) -> str:
    """A power of ten: ``10⁻⁹``, and ``1`` for the first."""
    return f"10{str(exponent).translate(_UP)}" if exponent else "1"


def chance(value: float) -> str:
    """A probability of two digits: ``0.031``, ``2.4 × 10⁻⁹`` where zeros would hide it, a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    if value == 0.0 or value >= 1e-3:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × {ten_to(int(exponent))}"


def significant(value: float, digits: int = 3) -> str:
    """So many digits that mean something, thousands apart: ``0.0123``, ``4.56``, ``1,230``."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    # Rounded first, as that may add a digit before the point.
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share in percent, one decimal where it is small: ``18 %``, ``1.2 %``; a dash where there is none."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.{1 if 0 < share < 0.0995 else 0}f} %"


def operations(count: int) -> str:
    """Floating-point operations: ``35.1 GFLOP``."""
    step = min((len(str(count)) - 1) // 3, len(_PREFIXES) - 1)
    return f"{count / 1000**step:.3g} {_PREFIXES[step]}FLOP"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for length, unit, digits in ((86400.0, "days", 1), (3600.0, "h", 1), (60.0, "min", 0)):
        if seconds >= 2 * length or (unit == "min" and seconds >= 100):
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"
