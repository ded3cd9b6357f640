"""The strings in JSON."""

from collections.abc import Iterator
from typing import Any


def strings(value: Any) -> Iterator[str]:
    """Yield all strings in ``value``, without the names of members."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(inner)
