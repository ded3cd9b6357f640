"""Numbers as people read them."""

from collections.abc import Callable
from typing import TypeAlias

from loadtest.figures.measures import MEASURES

Shown: TypeAlias = Callable[[float], str]


def plain(value: float) -> str:
    """Four figures, or all before the point."""
    return f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    for least, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= least:
            value = seconds / least
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs" if seconds else "0"


def several(number: float, what: str) -> str:
    """``what``, in the singular, so many times."""
    return f"{plain(number)} {what}{'' if number == 1 else 's'}"


def shown(name: str) -> Shown:
    """The format of a measure's values."""
    return duration if MEASURES[name].unit == "s" else plain
