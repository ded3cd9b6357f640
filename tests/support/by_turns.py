"""Half of the combinations of several parameters for the gate, and the others for the soak."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest


def by_turns(*factors: Sequence[Any], ids: Sequence[Sequence[str]] | None = None) -> list[Any]:
    """Return all combinations of values, with a mark for the soak on every other one.

    The gate has every value, and every pair of values if at least three factors have several."""
    names = ids or [list(map(str, values)) for values in factors]
    return [
        pytest.param(
            *(values[at] for values, at in zip(factors, place, strict=True)),
            id="-".join(name[at] for name, at in zip(names, place, strict=True)),
            marks=[pytest.mark.soak] if sum(place) % 2 else [],
        )
        for place in product(*(range(len(values)) for values in factors))
    ]
