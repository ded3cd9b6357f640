"""Requests with a member that no API has, in each of their objects."""

import copy
import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from tests.support.sdk_fields import Sample


def objects(value: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object in ``value``, with its path."""
    if isinstance(value, dict):
        yield at, value
        for name, one in value.items():
            yield from objects(one, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        for one in value:
            yield from objects(one, at + "[]")


def with_members(
    samples: Iterable[Sample], name: str, skipped: Collection[str] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a request for each path of an object in ``samples`` and each of its types, with the member ``name`` there.

    ``skipped`` are paths, some with a type, without a request."""
    seen: set[tuple[str, str]] = set()
    for sample in samples:
        base = json.loads(json.dumps(sample.with_field, default=str))
        for at, found in objects(base):
            if (key := (at, str(found.get("type")))) in seen:
                continue
            seen.add(key)
            found[name] = "some value"
            if not {at, " ".join(key)} & set(skipped):
                yield at, copy.deepcopy(base)
            del found[name]
