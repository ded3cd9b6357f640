"""The places of values in content of mappings and lists, and copies with another value at one of them."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any


def places(content: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the places of all values in ``content``, each as the steps from its top."""
    members = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for step, member in members:
        yield (*above, step)
        yield from places(member, (*above, step))


def value_at(content: Any, place: Sequence[Any]) -> Any:
    """Return the value at ``place``."""
    for step in place:
        content = content[step]
    return content


def changed_at(content: Any, place: Sequence[Any], value: Any) -> Any:
    """Return a copy of ``content`` with ``value`` at ``place``."""
    changed = copy.deepcopy(content)
    value_at(changed, place[:-1])[place[-1]] = value
    return changed
