"""The line through measured points."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """``offset + slope * x``. ``off`` is the greatest deviation of a point, relative to its y."""

    slope: float
    offset: float
    off: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> "Line":
        """Return the line of least squares."""
        slope, offset = statistics.linear_regression(*zip(*points, strict=True))
        return cls(slope, offset, max(abs(offset + slope * x - y) / abs(y) for x, y in points))
